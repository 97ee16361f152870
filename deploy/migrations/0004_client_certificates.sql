-- Which TLS client certificate a customer must present when it binds. Empty, or null: none. Where the platform has a view, it is the
-- platform's to add them.
DO $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = to_regclass('messaging.customer_sms_auth')) IN ('r', 'p') THEN
        ALTER TABLE messaging.customer_sms_auth
            ADD COLUMN IF NOT EXISTS tls_client_certificate_sha256 text[] DEFAULT '{}',
            ADD COLUMN IF NOT EXISTS tls_client_certificate_names text[] DEFAULT '{}';
    END IF;
END
$$;
