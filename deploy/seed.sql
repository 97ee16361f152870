-- Something to try the gateway with; `smpp-gateway migrate --seed` puts it in where nothing of these names is. The customer
-- trial binds with the password secret12 (change it), and what it sends goes to a vendor on this machine, such as that of
-- `smpp-bench smsc --listen 127.0.0.1:3601`.

INSERT INTO messaging.vendors (instance_name, display_name, host, port, username, password, binds, window_size)
SELECT 'trial', 'A vendor to try with', '127.0.0.1', 3601, 'gateway', 'gateway1', 2, 1000
 WHERE NOT EXISTS (SELECT FROM messaging.vendors WHERE instance_name = 'trial');

INSERT INTO messaging.customer_sms_auth
    (account_id, auth_type, smpp_system_id, smpp_password_hash, smpp_throughput, allowed_source_addresses)
SELECT '00000000-0000-4000-8000-000000000001', 'SMPP', 'trial',
       '$2b$10$.NrUZ0cmOp7dTEebfRsI3OL5Evas3XST2XNczXhvucmRyig8cGofK', 1000, '{*}'
 WHERE NOT EXISTS (SELECT FROM messaging.customer_sms_auth WHERE smpp_system_id = 'trial');

INSERT INTO messaging.routing_rules (priority, vendor_id)
SELECT 1000, id FROM messaging.vendors
 WHERE instance_name = 'trial'
   AND NOT EXISTS (SELECT FROM messaging.routing_rules WHERE vendor_id = vendors.id);
