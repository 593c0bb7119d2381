/* cert.c - a self-signed certificate (RFC 5280) and its key */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "cert.h"

#include <ctype.h>
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef HOST_NAME_MAX
#define HOST_NAME_MAX 255
#endif

enum {
    CERT_DAYS = 365,
    CERT_SERIAL = 16 /* bytes of chance in a serial number; at most 20 by RFC 5280, 4.1.2.2 */
};

static EVP_PKEY *make_key(void)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
    if (maker == NULL) return NULL;
    if (EVP_PKEY_keygen_init(maker) != 1 ||
        EVP_PKEY_CTX_set_ec_paramgen_curve_nid(maker, NID_X9_62_prime256v1) != 1 ||
        EVP_PKEY_keygen(maker, &key) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(maker);
    return key;
}

static bool set_serial(X509 *cert)
{
    unsigned char bytes[CERT_SERIAL];
    BIGNUM *number;
    bool ok;
    if (RAND_bytes(bytes, sizeof(bytes)) != 1) return false;
    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, and of full length */
    number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    ok = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    return ok;
}

static bool set_names(X509 *cert)
{
    static const unsigned char host[] = "localhost";
    X509_NAME *name = X509_get_subject_name(cert);
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, host, -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, name) == 1;
}

/* From a day ago, for clients whose clock is slow. */
static bool set_times(X509 *cert)
{
    return X509_time_adj_ex(X509_getm_notBefore(cert), -1, 0, NULL) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(cert), CERT_DAYS, 0, NULL) != NULL;
}

/* Labels of letters, digits and hyphens, the last one not a number: that would be an address. */
static bool is_host_name(const char *name)
{
    size_t label = 0, digits = 0;
    const char *c;
    for (c = name; *c != '\0'; c++) {
        if (*c == '.' ? label == 0 || c[-1] == '-' : !isalnum((unsigned char)*c) && *c != '-')
            return false;
        if (*c == '-' && label == 0) return false;
        digits = *c == '.' ? 0 : digits + (isdigit((unsigned char)*c) != 0);
        label = *c == '.' ? 0 : label + 1;
        if (label > 63) return false;
    }
    return label > digits && c[-1] != '-' && c - name <= 253;
}

/* "DNS:localhost,...", with this machine's name if it is one that a certificate can have. */
static void alternative_names(char *text, size_t size)
{
    char host[HOST_NAME_MAX + 1];
    bool named = gethostname(host, sizeof(host)) == 0;
    host[sizeof(host) - 1] = '\0';
    if (!named || !is_host_name(host) || strcmp(host, "localhost") == 0) host[0] = '\0';
    (void)snprintf(text, size, "DNS:localhost%s%s,IP:127.0.0.1,IP:::1",
                   host[0] != '\0' ? ",DNS:" : "", host);
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;
    bool ok;
    X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

/* Not an authority: a browser that is told to trust it trusts no other certificate for that. */
static bool add_extensions(X509 *cert)
{
    char names[HOST_NAME_MAX + 64];
    alternative_names(names, sizeof(names));
    return add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, NID_ext_key_usage, "serverAuth") &&
           add_extension(cert, NID_subject_key_identifier, "hash") &&
           add_extension(cert, NID_subject_alt_name, names);
}

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    if (cert == NULL) return NULL;
    if (X509_set_version(cert, 2) == 1 && /* 2 means v3 */
        set_serial(cert) && set_names(cert) && set_times(cert) &&
        X509_set_pubkey(cert, key) == 1 && add_extensions(cert) &&
        X509_sign(cert, key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

bool cert_make(X509 **cert, EVP_PKEY **key)
{
    *key = make_key();
    *cert = *key != NULL ? make_certificate(*key) : NULL;
    if (*cert != NULL) return true;
    EVP_PKEY_free(*key);
    *key = NULL;
    return false;
}
