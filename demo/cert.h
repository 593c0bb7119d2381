/* cert.h - a certificate made in memory, for a server that was given none */
#ifndef DEMO_CERT_H
#define DEMO_CERT_H

#include <openssl/x509.h>
#include <stdbool.h>

/* Makes a key (EC P-256) and a self-signed X.509 v3 certificate for it, valid from yesterday for a
   year, for localhost, this machine's name and the loopback addresses; the caller frees both. False
   when there is no memory or randomness: then both are NULL and OpenSSL's error queue says why. */
bool cert_make(X509 **cert, EVP_PKEY **key);

#endif
