/* date.c - dates of HTTP (RFC 9110, 5.6.7), without the C library's time zones and locks */
#include "http.h"

#include <string.h>
#include <time.h>

enum { DATE_MAX_YEAR = 9999, DATE_DAY = 86400 };
#define DATE_MAX INT64_C(253402300799) /* the last second of the year 9999 */

static const char date_days[] = "SunMonTueWedThuFriSat";
static const char date_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char *const date_day_ends[] = {"day",   "day", "sday", "nesday",
                                            "rsday", "day", "urday"};

/* ---- the calendar ---- */

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days from the start of 1970 to the start of a year, negative before. */
static int64_t days_before_year(int year)
{
    int64_t past = year - 1; /* leap days up to the end of 1969: 477 */
    return (int64_t)(year - 1970) * 365 + past / 4 - past / 100 + past / 400 - 477;
}

/* Days from the start of a year to the start of a month, 0 to 12. */
static int days_before_month(int year, int month)
{
    static const short days[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    return days[month] + (month > 1 && is_leap(year));
}

void http_date_split(int64_t seconds, http_date *date)
{
    int64_t days;
    int left;
    seconds = seconds < 0 ? 0 : seconds > DATE_MAX ? DATE_MAX : seconds;
    days = seconds / DATE_DAY;
    left = (int)(seconds % DATE_DAY);
    date->hour = left / 3600;
    date->minute = left / 60 % 60;
    date->second = left % 60;
    date->weekday = (int)((days + 4) % 7); /* 1970 began on a Thursday */
    date->year = 1970 + (int)(days / 366); /* never too late */
    while (days_before_year(date->year + 1) <= days) date->year++;
    left = (int)(days - days_before_year(date->year));
    date->month = left / 31;
    if (days_before_month(date->year, date->month + 1) <= left) date->month++;
    date->day = left - days_before_month(date->year, date->month) + 1;
}

/* ---- writing ---- */

static char *put_digits(char *to, int value, int digits)
{
    int i;
    for (i = digits - 1; i >= 0; i--, value /= 10) to[i] = (char)('0' + value % 10);
    return to + digits;
}

static char *put_bytes(char *to, const char *bytes, size_t size)
{
    memcpy(to, bytes, size);
    return to + size;
}

void http_date_format(int64_t seconds, char text[HTTP_DATE_SIZE])
{
    http_date d;
    char *to = text;
    http_date_split(seconds, &d);
    to = put_bytes(to, date_days + d.weekday * 3, 3);
    to = put_bytes(to, ", ", 2);
    to = put_digits(to, d.day, 2);
    *to++ = ' ';
    to = put_bytes(to, date_months + d.month * 3, 3);
    *to++ = ' ';
    to = put_digits(to, d.year, 4);
    *to++ = ' ';
    to = put_digits(to, d.hour, 2);
    *to++ = ':';
    to = put_digits(to, d.minute, 2);
    *to++ = ':';
    to = put_digits(to, d.second, 2);
    memcpy(to, " GMT", 5);
}

/* ---- reading: each takes what it recognises off the front of the text ---- */

static bool take(mm_slice *text, const char *literal)
{
    size_t size = strlen(literal);
    if (text->len < size || memcmp(text->ptr, literal, size) != 0) return false;
    *text = mm_slice_make(text->ptr + size, text->len - size);
    return true;
}

static bool take_number(mm_slice *text, size_t digits, int *value)
{
    size_t i;
    if (text->len < digits) return false;
    for (*value = 0, i = 0; i < digits; i++) {
        if (text->ptr[i] < '0' || text->ptr[i] > '9') return false;
        *value = *value * 10 + (text->ptr[i] - '0');
    }
    *text = mm_slice_make(text->ptr + digits, text->len - digits);
    return true;
}

/* One of a run of names of three letters each. */
static bool take_name(mm_slice *text, const char *names, int *index)
{
    for (*index = 0; text->len >= 3 && names[*index * 3] != '\0'; ++*index)
        if (memcmp(text->ptr, names + *index * 3, 3) == 0) {
            *text = mm_slice_make(text->ptr + 3, text->len - 3);
            return true;
        }
    return false;
}

static bool take_time(mm_slice *t, http_date *d)
{
    return take_number(t, 2, &d->hour) && take(t, ":") && take_number(t, 2, &d->minute) &&
           take(t, ":") && take_number(t, 2, &d->second);
}

/* Sun, 06 Nov 1994 08:49:37 GMT, behind the name of the day */
static bool take_fixdate(mm_slice *t, http_date *d)
{
    return take(t, ", ") && take_number(t, 2, &d->day) && take(t, " ") &&
           take_name(t, date_months, &d->month) && take(t, " ") && take_number(t, 4, &d->year) &&
           take(t, " ") && take_time(t, d) && take(t, " GMT");
}

/* Sun Nov  6 08:49:37 1994, likewise */
static bool take_asctime(mm_slice *t, http_date *d)
{
    if (!take(t, " ") || !take_name(t, date_months, &d->month) || !take(t, " ")) return false;
    if (!(take(t, " ") ? take_number(t, 1, &d->day) : take_number(t, 2, &d->day))) return false;
    return take(t, " ") && take_time(t, d) && take(t, " ") && take_number(t, 4, &d->year);
}

/* Sunday, 06-Nov-94 08:49:37 GMT, likewise. A year that seems more than 50 years ahead is past. */
static bool take_rfc850(mm_slice *t, http_date *d)
{
    http_date now;
    if (!take(t, date_day_ends[d->weekday]) || !take(t, ", ") || !take_number(t, 2, &d->day) ||
        !take(t, "-") || !take_name(t, date_months, &d->month) || !take(t, "-") ||
        !take_number(t, 2, &d->year) || !take(t, " ") || !take_time(t, d) || !take(t, " GMT"))
        return false;
    http_date_split((int64_t)time(NULL), &now);
    d->year += now.year / 100 * 100;
    if (d->year > now.year + 50) d->year -= 100;
    return true;
}

bool http_date_parse(mm_slice text, int64_t *seconds)
{
    http_date d;
    bool known;
    int64_t days;
    if (!take_name(&text, date_days, &d.weekday) || text.len == 0) return false;
    if (text.ptr[0] == ',') known = take_fixdate(&text, &d);
    else if (text.ptr[0] == ' ') known = take_asctime(&text, &d);
    else known = take_rfc850(&text, &d);
    if (!known || text.len > 0 || d.year < 1 || d.day < 1) return false;
    if (d.hour > 23 || d.minute > 59 || d.second > 60) return false; /* 60: a leap second */
    if (d.day > days_before_month(d.year, d.month + 1) - days_before_month(d.year, d.month))
        return false;
    days = days_before_year(d.year) + days_before_month(d.year, d.month) + d.day - 1;
    *seconds = days * DATE_DAY + d.hour * 3600 + d.minute * 60 + d.second;
    return true;
}
