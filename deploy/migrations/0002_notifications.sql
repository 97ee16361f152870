-- A change of what the gateway reads is told on one channel, smpp_gateway, with the table's name. Several changes in one
-- transaction are told once for each table, when it commits. A vendor's health, which the gateway itself writes, tells nothing.

CREATE OR REPLACE FUNCTION messaging.smpp_gateway_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('smpp_gateway', TG_TABLE_NAME);
    RETURN NULL;
END
$$;

-- Puts the triggers on a table, in place of those of an earlier call.
CREATE OR REPLACE FUNCTION messaging.smpp_gateway_watch(watched regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TRIGGER IF EXISTS smpp_gateway_rows ON %s', watched);
    EXECUTE format('DROP TRIGGER IF EXISTS smpp_gateway_values ON %s', watched);
    EXECUTE format(
        'CREATE TRIGGER smpp_gateway_rows AFTER INSERT OR DELETE OR TRUNCATE ON %s
         FOR EACH STATEMENT EXECUTE FUNCTION messaging.smpp_gateway_notify()', watched);
    EXECUTE format(
        'CREATE TRIGGER smpp_gateway_values AFTER UPDATE ON %s FOR EACH ROW
         WHEN (to_jsonb(OLD) - ARRAY[''health_status'', ''last_bind_time'', ''updated_at'']
               IS DISTINCT FROM to_jsonb(NEW) - ARRAY[''health_status'', ''last_bind_time'', ''updated_at''])
         EXECUTE FUNCTION messaging.smpp_gateway_notify()', watched);
END
$$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['vendors', 'customer_sms_auth', 'routing_rules', 'inbound_routes', 'campaigns_10dlc'] LOOP
        -- The platform may have a view where a table is meant; its changes come with the periodic reading.
        IF (SELECT relkind FROM pg_class WHERE oid = to_regclass('messaging.' || name)) IN ('r', 'p') THEN
            PERFORM messaging.smpp_gateway_watch(to_regclass('messaging.' || name));
        END IF;
    END LOOP;
END
$$;
