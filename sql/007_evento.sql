-- 007: a delivery knows its event, so that listing the deliveries of an event is one query of one table.
--
-- Whoever writes a delivery together with its message says its event. Where it was not said (by a worker of the version before,
-- or because the state came before the message) the trigger looks it up, now and at the next change. Said, it costs nothing.
--
-- The deliveries of before are completed afterwards, not here, where the table is locked: see completar_eventos. crear-base calls
-- it page by page while workers go on.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (7, '007_evento');

-- Nobody asks mensaje for an event any more: what entrega's new index costs those who write, this one cost. Before entrega is
-- locked, as writers come to mensaje first.
DROP INDEX {{schema}}.mensaje_evento;

ALTER TABLE {{schema}}.entrega ADD COLUMN evento text COLLATE "C";
COMMENT ON COLUMN {{schema}}.entrega.evento IS 'El de su mensaje; NULL si el mensaje no esta';

-- A session keeps the plan that it made while the tables were small, hence enable_seqscan, and IS NOT DISTINCT FROM, of which no
-- index knows: what is left is the primary key.
CREATE FUNCTION {{schema}}.poner_evento() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $poner_evento$
DECLARE
  de_mensaje text;
BEGIN
  SELECT m.evento INTO de_mensaje FROM {{schema}}.mensaje m
   WHERE m.id = NEW.mensaje_id AND (m.instancia, m.proyecto) IS NOT DISTINCT FROM (NEW.instancia, NEW.proyecto)
   ORDER BY m.recibido DESC LIMIT 1;
  -- Without one nothing is changed: a change calls this again.
  IF de_mensaje IS NOT NULL THEN
    UPDATE {{schema}}.entrega e SET evento = de_mensaje
     WHERE e.mensaje_id = NEW.mensaje_id AND e.listener = NEW.listener
       AND (e.instancia, e.proyecto) IS NOT DISTINCT FROM (NEW.instancia, NEW.proyecto);
  END IF;
  RETURN NULL;
END
$poner_evento$;
COMMENT ON FUNCTION {{schema}}.poner_evento() IS 'Pone a una entrega el evento de su mensaje';

-- AFTER: beside a trigger BEFORE each row, COPY would insert them one by one.
CREATE TRIGGER poner_evento AFTER INSERT OR UPDATE ON {{schema}}.entrega
  FOR EACH ROW WHEN (NEW.evento IS NULL) EXECUTE FUNCTION {{schema}}.poner_evento();

-- A page of about so many deliveries (NULL: of all), those of the messages after an id. Returns the last id of the page; NULL once
-- there are no more, and the indexes with the event are made. Calling it again does nothing.
CREATE FUNCTION {{schema}}.completar_eventos(despues_de text DEFAULT '', cuantas integer DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET maintenance_work_mem = '256MB' AS $completar_eventos$
DECLARE
  hasta  text COLLATE "C";
  ultima boolean;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('resthooks.migracion'), hashtext({{schema_literal}}));
  IF EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = {{schema_literal}} AND c.relname = 'entrega_evento') THEN
    RETURN NULL;
  END IF;
  IF cuantas IS NOT NULL THEN
    SELECT e.mensaje_id INTO hasta FROM {{schema}}.entrega e
     WHERE e.evento IS NULL AND e.mensaje_id > despues_de ORDER BY e.mensaje_id OFFSET cuantas LIMIT 1;
  END IF;
  ultima := hasta IS NULL;
  IF ultima THEN
    SELECT max(e.mensaje_id) INTO hasta FROM {{schema}}.entrega e;
  END IF;

  -- Both by ranges of ids: a page reads one stretch of each table, however many there are. Of an id that came again the last
  -- message counts.
  UPDATE {{schema}}.entrega e SET evento = m.evento
    FROM (SELECT DISTINCT ON (m.id, m.instancia, m.proyecto) m.id, m.instancia, m.proyecto, m.evento
            FROM {{schema}}.mensaje m WHERE m.id > despues_de AND m.id <= hasta
           ORDER BY m.id, m.instancia, m.proyecto, m.recibido DESC) m
   WHERE e.mensaje_id > despues_de AND e.mensaje_id <= hasta AND e.evento IS NULL
     AND e.mensaje_id = m.id AND e.instancia = m.instancia AND e.proyecto = m.proyecto;
  IF NOT ultima THEN
    RETURN hasta;
  END IF;

  -- Made when all is said: once, compact, and while others read. Audit rows wait in Redis meanwhile. Each has an order of the
  -- listings, and what else they filter by, so that what does not match is passed over inside of the index.
  CREATE INDEX entrega_evento ON {{schema}}.entrega (instancia, proyecto, evento, creado, listener);
  CREATE INDEX entrega_listener_evento ON {{schema}}.entrega (instancia, proyecto, listener, creado, evento);
  CREATE INDEX entrega_estado_evento ON {{schema}}.entrega
    (instancia, proyecto, estado, creado, mensaje_id, listener, evento) WHERE estado <> 'exitosa';
  -- In place of those without; last, as nobody reads from here to the end.
  DROP INDEX {{schema}}.entrega_listener, {{schema}}.entrega_estado;
  ALTER INDEX {{schema}}.entrega_listener_evento RENAME TO entrega_listener;
  ALTER INDEX {{schema}}.entrega_estado_evento RENAME TO entrega_estado;
  ANALYZE {{schema}}.entrega;
  RETURN NULL;
END
$completar_eventos$;
COMMENT ON FUNCTION {{schema}}.completar_eventos(text, integer) IS
  'Pone el evento a las entregas anteriores a esta columna, por paginas, y al final crea los indices que lo tienen';
