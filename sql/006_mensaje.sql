-- 006: what was sent, to the letter, and the messages that nobody listened to.
--
-- original: in a LATIN1 database a route or an event may not fit, and is written escaped; jsonb puts headers in an order of its
-- own. reenviar and recuperar send what was sent, and take it from here.
--
-- The index is small, and built by reading every message once: audit rows wait in Redis meanwhile.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (6, '006_mensaje');

ALTER TABLE {{schema}}.mensaje ADD COLUMN original bytea;
COMMENT ON COLUMN {{schema}}.mensaje.original IS
  'JSON en UTF-8 con el valor exacto de las columnas que no lo pueden guardar tal cual; NULL si todas pueden';

-- estado, auditoria --sin-listener
CREATE INDEX mensaje_sin_listener ON {{schema}}.mensaje (instancia, proyecto, recibido) WHERE listeners = 0;
