/* certs.c - certificates from files, and which of them a client gets */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "certs.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

#include "cert.h"
#include "tls.h"

typedef struct cert_entry {
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) *chain; /* what comes behind it; NULL: nothing */
} cert_entry;

struct cert_set {
    size_t users; /* who holds it; under the lock of certs */
    size_t count;
    cert_entry entries[OPTIONS_LIST];
};

/* ---- reading ---- */

/* In place of OpenSSL's, which would ask on the terminal: that a server cannot wait for. */
static int refuse_password(char *text, int size, int writing, void *asked)
{
    (void)text, (void)size, (void)writing;
    *(bool *)asked = true;
    return 0;
}

/* NULL with *why set, which may be OpenSSL's. */
static EVP_PKEY *read_key(const char *file, const char **why)
{
    bool encrypted = false;
    EVP_PKEY *key;
    BIO *in = BIO_new_file(file, "r");
    *why = in == NULL ? tls_reason() : "no private key in PEM form";
    if (in == NULL) return NULL;
    key = PEM_read_bio_PrivateKey(in, NULL, refuse_password, &encrypted);
    if (encrypted) *why = "it is encrypted";
    BIO_free(in);
    return key;
}

static bool load_key(cert_entry *e, const char *file, char *error, size_t error_size)
{
    const char *why;
    e->key = read_key(file, &why);
    if (e->key != NULL) {
        if (X509_check_private_key(e->cert, e->key) == 1) return true;
        why = "it is not the certificate's";
    }
    return tls_complain(error, error_size, "cannot use the private key", file, why);
}

/* The certificates behind the first one; false when one is damaged or there is no memory. */
static bool read_chain(cert_entry *e, BIO *in)
{
    X509 *next;
    unsigned long code;
    while ((next = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        if (e->chain == NULL) e->chain = sk_X509_new_null();
        if (e->chain != NULL && sk_X509_push(e->chain, next) > 0) continue;
        X509_free(next);
        return false;
    }
    code = ERR_peek_last_error();
    if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
        return false;
    ERR_clear_error(); /* the end of the file */
    return true;
}

static bool load_cert(cert_entry *e, const char *file, char *error, size_t error_size)
{
    bool ok = false;
    unsigned long code;
    const char *why;
    BIO *in = BIO_new_file(file, "r");
    if (in != NULL) {
        e->cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
        ok = e->cert != NULL && read_chain(e, in);
        BIO_free(in);
    }
    if (ok) return true;
    why = tls_reason();
    code = ERR_peek_error();
    if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE)
        why = "no certificate in PEM form";
    return tls_complain(error, error_size, "cannot use the certificate", file, why);
}

/* ---- sets ---- */

static void free_set(cert_set *set)
{
    size_t i;
    for (i = 0; set != NULL && i < set->count; i++) {
        X509_free(set->entries[i].cert);
        EVP_PKEY_free(set->entries[i].key);
        sk_X509_pop_free(set->entries[i].chain, X509_free);
    }
    OPENSSL_free(set);
}

/* The key's file of the i-th certificate. */
static const char *key_file(const certs *c, size_t i)
{
    return i < c->key_files->count ? c->key_files->at[i] : c->cert_files->at[i];
}

/* What a handshake would find out too late: that OpenSSL's rules refuse a certificate, say for a
   key that is too short. */
static bool is_usable(const cert_entry *e)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    bool ok = context != NULL &&
              SSL_CTX_use_cert_and_key(context, e->cert, e->key, e->chain, 1) == 1;
    SSL_CTX_free(context);
    return ok;
}

static bool load_set(const certs *c, cert_set *set, char *error, size_t error_size)
{
    size_t i;
    for (i = 0; i < c->cert_files->count; i++) {
        const char *file = c->cert_files->at[i];
        cert_entry *e = &set->entries[set->count++];
        if (!load_cert(e, file, error, error_size) ||
            !load_key(e, key_file(c, i), error, error_size))
            return false;
        if (is_usable(e)) continue;
        return tls_complain(error, error_size, "cannot use the certificate", file, tls_reason());
    }
    if (i > 0) return true;
    if (cert_make(&set->entries[0].cert, &set->entries[0].key)) return ++set->count > 0;
    return tls_complain(error, error_size, "cannot make a certificate", NULL, tls_reason());
}

static cert_set *make_set(const certs *c, char *error, size_t error_size)
{
    cert_set *set = OPENSSL_zalloc(sizeof(*set));
    ERR_clear_error();
    if (set == NULL) {
        (void)tls_complain(error, error_size, "cannot load certificates", NULL, "no memory");
        return NULL;
    }
    set->users = 1;
    if (load_set(c, set, error, error_size)) return set;
    free_set(set);
    return NULL;
}

static cert_set *take_set(certs *c)
{
    cert_set *set;
    (void)pthread_mutex_lock(&c->lock);
    set = c->current;
    set->users++;
    (void)pthread_mutex_unlock(&c->lock);
    return set;
}

static void give_set(certs *c, cert_set *set)
{
    bool last;
    (void)pthread_mutex_lock(&c->lock);
    last = --set->users == 0;
    (void)pthread_mutex_unlock(&c->lock);
    if (last) free_set(set);
}

bool certs_init(certs *c, const options_list *cert_files, const options_list *key_files,
                char *error, size_t error_size)
{
    memset(c, 0, sizeof(*c));
    c->cert_files = cert_files;
    c->key_files = key_files;
    c->current = make_set(c, error, error_size);
    if (c->current == NULL) return false;
    (void)pthread_mutex_init(&c->lock, NULL);
    return true;
}

void certs_deinit(certs *c)
{
    if (c->current == NULL) return;
    free_set(c->current);
    c->current = NULL;
    (void)pthread_mutex_destroy(&c->lock);
}

bool certs_reload(certs *c, char *error, size_t error_size)
{
    cert_set *set, *old;
    if (c->cert_files->count == 0) return true; /* that one is as good as another */
    set = make_set(c, error, error_size);
    if (set == NULL) return false;
    (void)pthread_mutex_lock(&c->lock);
    old = c->current;
    c->current = set;
    (void)pthread_mutex_unlock(&c->lock);
    give_set(c, old);
    return true;
}

const char *certs_exposed_key(const certs *c)
{
    size_t i;
    for (i = 0; i < c->cert_files->count; i++) {
        struct stat st;
        if (stat(key_file(c, i), &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
            return key_file(c, i);
    }
    return NULL;
}

/* ---- choosing ---- */

static bool is_for(const cert_entry *e, const char *name)
{
    return X509_check_host(e->cert, name, 0, 0, NULL) == 1;
}

/* A name that the first certificate is for, when a client names none that we have; "" when it is
   for addresses only. The caller frees it. */
static char *default_name(const cert_entry *e)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(e->cert, NID_subject_alt_name, NULL, NULL);
    unsigned char *text = NULL;
    int i;
    for (i = 0; i < sk_GENERAL_NAME_num(names) && text == NULL; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS && ASN1_STRING_to_UTF8(&text, name->d.dNSName) < 0) text = NULL;
    }
    GENERAL_NAMES_free(names);
    return (char *)text;
}

/* Of each kind of key the first certificate for that name: how many, -1 when OpenSSL fails. With
   `first`, that one in any case. */
static int use_all_for(SSL *ssl, const cert_set *set, const char *name, bool first)
{
    int kinds[OPTIONS_LIST], used = 0, k;
    size_t i;
    for (i = 0; i < set->count; i++) {
        const cert_entry *e = &set->entries[i];
        int kind = EVP_PKEY_get_base_id(e->key);
        if (!(first && i == 0) && (name == NULL || !is_for(e, name))) continue;
        for (k = 0; k < used && kinds[k] != kind;) k++;
        if (k < used) continue;
        if (SSL_use_cert_and_key(ssl, e->cert, e->key, e->chain, 1) != 1) return -1;
        kinds[used++] = kind;
    }
    return used;
}

int certs_choose(SSL *ssl, void *user_data)
{
    certs *c = user_data;
    cert_set *set = take_set(c);
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    int used = 0;
    if (set->count > 1 && asked != NULL) used = use_all_for(ssl, set, asked, false);
    if (used == 0) {
        char *name = set->count > 1 ? default_name(&set->entries[0]) : NULL;
        used = use_all_for(ssl, set, name, true);
        OPENSSL_free(name);
    }
    give_set(c, set);
    return used > 0;
}

/* The first certificate for a name; their number when there is none. */
static size_t find_for(const cert_set *set, const char *name)
{
    size_t i = 0;
    while (i < set->count && !is_for(&set->entries[i], name)) i++;
    return i;
}

bool certs_answer_for(certs *c, const char *asked, const char *host)
{
    cert_set *set;
    size_t shown, wanted;
    bool good = true;
    if (asked == NULL || c->cert_files->count < 2) return true;
    set = take_set(c);
    shown = find_for(set, asked);
    wanted = find_for(set, host);
    if (shown == set->count) shown = 0; /* the default */
    if (wanted < set->count && wanted != shown) good = is_for(&set->entries[shown], host);
    give_set(c, set);
    return good;
}

void certs_fingerprint(certs *c, char text[CERTS_FINGERPRINT_SIZE])
{
    static const char digits[] = "0123456789ABCDEF";
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned i, size = 0;
    cert_set *set = take_set(c);
    if (X509_digest(set->entries[0].cert, EVP_sha256(), hash, &size) != 1) size = 0;
    text[0] = '\0';
    for (i = 0; i < size; i++) {
        text[3 * i] = digits[hash[i] >> 4];
        text[3 * i + 1] = digits[hash[i] & 15];
        text[3 * i + 2] = i + 1 < size ? ':' : '\0';
    }
    give_set(c, set);
}
