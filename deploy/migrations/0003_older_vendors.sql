-- The platform's two older tables of vendors in the shape of messaging.vendors, for [postgres] vendors_relation:
-- vendor_mgmt.service_providers as messaging.service_providers_as_vendors, messaging.vendor_connectors as
-- messaging.vendor_connectors_as_vendors. `smpp-gateway migrate` calls messaging.smpp_gateway_map_vendors() each time, so that
-- a table, or a column of it, that comes later is mapped by the next call.

CREATE OR REPLACE FUNCTION messaging.smpp_gateway_map_vendors() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    -- Each column of messaging.vendors that an older table calls otherwise, with its names there, first come first taken.
    other_names CONSTANT jsonb := '{
        "instance_name": ["instance_name", "connector_name", "provider_name", "name"],
        "display_name": ["display_name", "provider_name", "description"],
        "host": ["host", "smpp_host", "hostname"],
        "port": ["port", "smpp_port"],
        "username": ["username", "system_id", "smpp_system_id"],
        "password": ["password", "password_encrypted", "smpp_password"],
        "throughput": ["throughput", "max_throughput"],
        "is_active": ["is_active", "active", "enabled"]
    }';
    older text[];
    source regclass;
    target record;
    found text;
    columns text[];
    definition text;
BEGIN
    FOREACH older SLICE 1 IN ARRAY ARRAY[
        ['vendor_mgmt.service_providers', 'messaging.service_providers_as_vendors'],
        ['messaging.vendor_connectors', 'messaging.vendor_connectors_as_vendors']
    ] LOOP
        source := to_regclass(older[1]);
        CONTINUE WHEN source IS NULL;
        columns := '{}';
        FOR target IN
            SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute
             WHERE attrelid = 'messaging.vendors'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
        LOOP
            SELECT names.name INTO found
              FROM jsonb_array_elements_text(
                       coalesce(other_names -> target.attname, jsonb_build_array(target.attname)))
                   WITH ORDINALITY AS names (name, place)
              JOIN pg_attribute ON attrelid = source AND attname = names.name AND NOT attisdropped
             ORDER BY place LIMIT 1;
            -- A column as it stands can be written through the view. What the older table lacks is null, which the gateway
            -- takes for the default.
            columns := columns || CASE
                WHEN found IS NOT NULL THEN format('%I AS %I', found, target.attname)
                WHEN target.attname = 'provider_type' THEN '''smpp''::text AS provider_type'
                ELSE format('NULL::%s AS %I', target.type, target.attname)
            END;
        END LOOP;
        definition := format('VIEW %s AS SELECT %s FROM %s', older[2], array_to_string(columns, ', '), source);
        BEGIN
            EXECUTE 'CREATE OR REPLACE ' || definition;
        EXCEPTION WHEN invalid_table_definition THEN
            -- A column has another type than before.
            EXECUTE format('DROP VIEW %s', older[2]);
            EXECUTE 'CREATE ' || definition;
        END;
        IF (SELECT relkind FROM pg_class WHERE oid = source) IN ('r', 'p') THEN
            PERFORM messaging.smpp_gateway_watch(source);
        END IF;
    END LOOP;
END
$$;
