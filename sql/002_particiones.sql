-- 002: the monthly partitions of mensaje and intento, made ahead.
--
-- crear_particiones(n) makes those of this month and the next n, where missing, and returns how many it made. The
-- program calls it; calling it by hand is harmless. Months are UTC's. What fits none lies in *_otros (DEFAULT), and moves
-- out of there when its month is made.
--
-- SECURITY DEFINER: the program may run as a role that can write rows but not create tables.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (2, '002_particiones');

CREATE FUNCTION {{schema}}.crear_particiones(meses integer DEFAULT 2) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $crear_particiones$
DECLARE
  esquema constant text := {{schema_literal}};
  primero constant timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
  parte   record;
  hechas  integer := 0;
BEGIN
  FOR parte IN
    SELECT t.tabla, t.columna, t.tabla || '_otros' AS otros,
           t.tabla || to_char(primero + make_interval(months => n), '"_"YYYY"_"MM') AS nombre,
           (primero + make_interval(months => n)) AT TIME ZONE 'UTC' AS desde,
           (primero + make_interval(months => n + 1)) AT TIME ZONE 'UTC' AS hasta
      FROM (VALUES (1, 'mensaje', 'recibido'), (2, 'intento', 'inicio')) AS t (orden, tabla, columna),
           generate_series(0, least(meses, 24)) AS n
     ORDER BY t.orden, n
  LOOP
    CONTINUE WHEN EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                           WHERE n.nspname = esquema AND c.relname = parte.nombre);
    -- Taken only when there is something to do: an ordinary call never waits. Looked at again once it is ours; with
    -- a query, as to_regclass would answer from this session's cache.
    PERFORM pg_advisory_xact_lock(hashtext('resthooks.particiones'), hashtext(esquema));
    CONTINUE WHEN EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                           WHERE n.nspname = esquema AND c.relname = parte.nombre);

    -- ATTACH takes this lock anyway, to see that no row of that month lies there; taken first, none can slip in.
    -- Writers touch mensaje before intento too, so nobody waits in a circle.
    EXECUTE format('LOCK TABLE %I.%I IN ACCESS EXCLUSIVE MODE', esquema, parte.otros);
    EXECUTE format('CREATE TABLE %I.%I (LIKE %I.%I INCLUDING ALL)', esquema, parte.nombre, esquema, parte.tabla);
    EXECUTE format('WITH movida AS (DELETE FROM %I.%I WHERE %I >= $1 AND %I < $2 RETURNING *) '
                   'INSERT INTO %I.%I SELECT * FROM movida',
                   esquema, parte.otros, parte.columna, parte.columna, esquema, parte.nombre)
      USING parte.desde, parte.hasta;
    -- Not CREATE ... PARTITION OF, which would lock the whole table against reading.
    EXECUTE format('ALTER TABLE %I.%I ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
                   esquema, parte.tabla, esquema, parte.nombre, parte.desde, parte.hasta);
    hechas := hechas + 1;
  END LOOP;
  RETURN hechas;
END
$crear_particiones$;
COMMENT ON FUNCTION {{schema}}.crear_particiones(integer) IS
  'Crea las partes de este mes y de los siguientes que falten; devuelve cuantas hizo';
