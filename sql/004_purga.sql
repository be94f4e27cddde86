-- 004: dropping old months whole.
--
-- purgar_particion(instancia, proyecto, antes) drops one partition of mensaje or intento whose month lies wholly before
-- `antes`, and returns its name; NULL when there is none left. A month in which another project has rows is left alone: its
-- rows are deleted one by one, and the last project to purge drops it. Rows of messages that have not ended move to *_otros.
--
-- SECURITY DEFINER: the program may run as a role that can delete rows but not drop tables.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (4, '004_purga');

CREATE FUNCTION {{schema}}.purgar_particion(de_instancia text, de_proyecto text, antes timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $purgar_particion$
DECLARE
  esquema constant text := {{schema_literal}};
  parte   record;
  ajenas  boolean;
BEGIN
  -- As crear_particiones: partitions come and go one at a time.
  PERFORM pg_advisory_xact_lock(hashtext('resthooks.particiones'), hashtext(esquema));
  FOR parte IN
    SELECT madre.relname AS tabla, hija.relname AS nombre,
           CASE madre.relname WHEN 'mensaje' THEN 'id' ELSE 'mensaje_id' END AS clave,
           CASE madre.relname WHEN 'mensaje' THEN 'parte.listeners IS NULL OR ' ELSE '' END AS demorado
      FROM pg_inherits i
      JOIN pg_class madre ON madre.oid = i.inhparent
      JOIN pg_class hija ON hija.oid = i.inhrelid
      JOIN pg_namespace n ON n.oid = madre.relnamespace
     WHERE n.nspname = esquema AND madre.relname IN ('mensaje', 'intento')
       -- CASE, as the conditions of a WHERE are tried in any order and *_otros is no month.
       AND CASE WHEN hija.relname ~ ('^' || madre.relname || '_\d{4}_\d{2}$')
                THEN (to_date(right(hija.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= antes
           END
     ORDER BY right(hija.relname, 7), madre.relname
  LOOP
    -- Nothing slips in while it is looked at; reading goes on.
    EXECUTE format('LOCK TABLE %I.%I IN SHARE MODE', esquema, parte.nombre);
    EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I WHERE instancia <> $1 OR proyecto <> $2)', esquema, parte.nombre)
      INTO ajenas USING de_instancia, de_proyecto;
    CONTINUE WHEN ajenas;
    EXECUTE format('ALTER TABLE %I.%I DETACH PARTITION %I.%I', esquema, parte.tabla, esquema, parte.nombre);
    EXECUTE format('INSERT INTO %I.%I SELECT parte.* FROM %I.%I parte WHERE %s EXISTS '
                   '(SELECT FROM %I.entrega e WHERE e.mensaje_id = parte.%I AND e.instancia = $1 AND e.proyecto = $2 '
                   'AND e.estado IN (''pendiente'', ''reintentando''))',
                   esquema, parte.tabla, esquema, parte.nombre, parte.demorado, esquema, parte.clave)
      USING de_instancia, de_proyecto;
    EXECUTE format('DROP TABLE %I.%I', esquema, parte.nombre);
    RETURN parte.nombre;
  END LOOP;
  RETURN NULL;
END
$purgar_particion$;
COMMENT ON FUNCTION {{schema}}.purgar_particion(text, text, timestamptz) IS
  'Borra entera una parte de un mes anterior a la fecha, si es toda de ese proyecto; devuelve su nombre, o NULL si no queda ninguna';
