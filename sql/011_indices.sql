-- 011: what the listings look for.
--
-- Made one by one by completar_indices, after this: each keeps the writers of its table waiting as long as it is built, and audit rows
-- wait in Redis meanwhile.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (11, '011_indices');

-- Makes the first that is missing (todos: all of them) and returns its name; NULL once none is missing.
CREATE FUNCTION {{schema}}.completar_indices(todos boolean DEFAULT true) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET maintenance_work_mem = '256MB' AS $completar_indices$
DECLARE
  esquema constant text := {{schema_literal}};
  indice  record;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('resthooks.migracion'), hashtext(esquema));
  FOR indice IN
    SELECT * FROM (VALUES
      -- newest messages, reenviar --faltantes; with the event, so that trazabilidad of one event reads only its messages
      ('mensaje_recibido', 'mensaje', '(instancia, proyecto, recibido, id, evento)', ''),
      ('mensaje_clave', 'mensaje', '(clave)', 'WHERE clave IS NOT NULL'),
      -- failures of a listener, newest first: estado, the page
      ('intento_fallo', 'intento', '(instancia, proyecto, listener, inicio)', 'WHERE resultado <> ''exito''')
      ) AS indices (nombre, tabla, columnas, condicion)
  LOOP
    CONTINUE WHEN EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                           WHERE n.nspname = esquema AND c.relname = indice.nombre);
    EXECUTE format('CREATE INDEX %I ON %I.%I %s %s', indice.nombre, esquema, indice.tabla, indice.columnas, indice.condicion);
    IF NOT todos THEN
      RETURN indice.nombre;
    END IF;
  END LOOP;
  RETURN NULL;
END
$completar_indices$;
COMMENT ON FUNCTION {{schema}}.completar_indices(boolean) IS 'Crea los indices que falten: todos, o solo el primero, y devuelve su nombre';
