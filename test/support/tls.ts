/**
 * TEST ONLY. A self-signed certificate for `service.test` and 127.0.0.1, and its private key, which
 * is public by being here. It protects nothing and nothing outside test/ may trust it.
 * Made once, valid from 2020 to 2120, so that tests need neither openssl nor a clock.
 */
export const TEST_ONLY_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBgDCCASagAwIBAgIBATAKBggqhkjOPQQDAjAfMR0wGwYDVQQDDBRhZ2VudC1p
ZHAgdGVzdHMgb25seTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFow
HzEdMBsGA1UEAwwUYWdlbnQtaWRwIHRlc3RzIG9ubHkwWTATBgcqhkjOPQIBBggq
hkjOPQMBBwNCAAT6YxJWU0t9wEt9vaKQ/0nxvX8PoSE059LSAmZniepO4HMB4wH6
r6YSB5zxvdG172tJUZMLENOj5QWB0sAOe8d+o1EwTzAdBgNVHREEFjAUggxzZXJ2
aWNlLnRlc3SHBH8AAAEwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUM4VdArym
KCSHuu+AONbkYQaDADkwCgYIKoZIzj0EAwIDSAAwRQIgSWZKd1GYLC7CTNWm1GLB
Gra4PgXxo/4krzW9qDe7QkYCIQCBqfygMBVrARl7wKb8Ry7P/pdD2l2Iqe9y8PTb
94Pb+w==
-----END CERTIFICATE-----
`

export const TEST_ONLY_PRIVATE_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgVpoEbovwXiG52v9+
2eBxhLUEr3OB8KvsoRiB3Z8rF3ehRANCAAT6YxJWU0t9wEt9vaKQ/0nxvX8PoSE0
59LSAmZniepO4HMB4wH6r6YSB5zxvdG172tJUZMLENOj5QWB0sAOe8d+
-----END PRIVATE KEY-----
`
