-- 010: attempts by hour, so that a year of them is counted without reading one.
--
-- resumen_hora is kept by whoever writes attempts, in the same transaction, and counts the rows that were really inserted. A worker of
-- the version before does not say (resthooks.resumen) that it counts: a trigger does it for it.
--
-- Attempts of before are counted afterwards, backwards in time: see completar_resumen. resumen_progreso says from when on they are
-- counted; what is written with an earlier inicio is not counted by its writer, but by the page that comes to its time. Writers
-- hold the lock resthooks.resumen together, a page alone: each attempt is counted once.
--
-- An attempt counts once, in the hour of its last request, with the time of all of them.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (10, '010_resumen');

CREATE TABLE {{schema}}.resumen_hora (
  instancia  text COLLATE "C" NOT NULL,
  proyecto   text COLLATE "C" NOT NULL,
  hora       timestamptz NOT NULL,
  listener   text COLLATE "C" NOT NULL,
  evento     text COLLATE "C" NOT NULL,
  parte      integer NOT NULL,
  enviados   bigint NOT NULL,
  exitosos   bigint NOT NULL,
  fallidos   bigint NOT NULL,
  reintentos bigint NOT NULL,
  duraciones bigint[] NOT NULL,
  PRIMARY KEY (instancia, proyecto, hora, listener, evento, parte)
);
COMMENT ON TABLE {{schema}}.resumen_hora IS 'Intentos por hora, listener y evento: se suman las filas que haya de cada uno';
COMMENT ON COLUMN {{schema}}.resumen_hora.evento IS 'Vacio si no se sabe';
COMMENT ON COLUMN {{schema}}.resumen_hora.parte IS
  '0; en lo que conto el disparador por un worker de la version anterior, el proceso de Postgres: dos nunca esperan por la misma fila';
COMMENT ON COLUMN {{schema}}.resumen_hora.reintentos IS 'Intentos que no eran el primero';
COMMENT ON COLUMN {{schema}}.resumen_hora.duraciones IS 'Cuantos duraron hasta cada uno de limites_ms(); los ultimos ceros pueden faltar';

CREATE FUNCTION {{schema}}.limites_ms() RETURNS integer[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $limites_ms$
SELECT ARRAY[1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200, 300, 400, 500, 700, 1000, 1500, 2000, 3000, 4000, 5000,
             7000, 10000, 15000, 20000, 30000, 60000, 120000, 300000, 3600000]
$limites_ms$;
COMMENT ON FUNCTION {{schema}}.limites_ms() IS 'Hasta cuantos milisegundos llega cada cuenta de resumen_hora.duraciones; la ultima, sin limite';

CREATE FUNCTION {{schema}}.tramo(ms bigint) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $tramo$
SELECT least(width_bucket(ms - 1, l::bigint[]) + 1, cardinality(l)) FROM (SELECT {{schema}}.limites_ms()) AS limites (l)
$tramo$;
COMMENT ON FUNCTION {{schema}}.tramo(bigint) IS 'Cual de las cuentas de resumen_hora.duraciones es la de esos milisegundos';

CREATE FUNCTION {{schema}}.sumar_duraciones(una bigint[], otra bigint[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $sumar_duraciones$
SELECT coalesce(array_agg(coalesce(a, 0) + coalesce(b, 0) ORDER BY n), '{}')
  FROM unnest(una, otra) WITH ORDINALITY AS cuenta (a, b, n)
$sumar_duraciones$;
COMMENT ON FUNCTION {{schema}}.sumar_duraciones(bigint[], bigint[]) IS 'Suma dos listas de cuentas de resumen_hora';

CREATE FUNCTION {{schema}}.percentil(parte double precision, duraciones numeric[]) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $percentil$
SELECT ({{schema}}.limites_ms())[min(n)]
  FROM (SELECT n, sum(cuenta) OVER (ORDER BY n) AS hasta, sum(cuenta) OVER () AS todas
          FROM unnest(duraciones) WITH ORDINALITY AS cuentas (cuenta, n)) AS sumas
 WHERE todas > 0 AND hasta >= parte * todas
$percentil$;
COMMENT ON FUNCTION {{schema}}.percentil(double precision, numeric[]) IS
  'Cuantos milisegundos duro, como mucho, esa parte de los intentos (0.95: el percentil 95); NULL si no hay ninguno';

CREATE TABLE {{schema}}.resumen_progreso (
  desde timestamptz NOT NULL
);
CREATE UNIQUE INDEX resumen_progreso_una ON {{schema}}.resumen_progreso ((true));
COMMENT ON TABLE {{schema}}.resumen_progreso IS
  'Los intentos desde este instante ya estan en resumen_hora, y quien escribe uno lo cuenta; -infinity: estan todos';

-- Adds to a row of resumen_hora, or takes away from it.
CREATE FUNCTION {{schema}}.contar_intento(de_instancia text, de_proyecto text, cuando timestamptz, de_listener text, de_evento text,
                                          de_parte integer, cuantos integer, numero integer, resultado text, ms bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $contar_intento$
INSERT INTO {{schema}}.resumen_hora AS old
VALUES (de_instancia, de_proyecto, date_trunc('hour', cuando, 'UTC'), de_listener, coalesce(de_evento, ''), de_parte, cuantos,
        CASE WHEN resultado = 'exito' THEN cuantos ELSE 0 END, CASE WHEN resultado = 'fallo' THEN cuantos ELSE 0 END,
        CASE WHEN numero > 1 THEN cuantos ELSE 0 END,
        array_fill(0::bigint, ARRAY[{{schema}}.tramo(ms) - 1]) || cuantos::bigint)
ON CONFLICT (instancia, proyecto, hora, listener, evento, parte) DO UPDATE
  SET enviados = old.enviados + excluded.enviados, exitosos = old.exitosos + excluded.exitosos,
      fallidos = old.fallidos + excluded.fallidos, reintentos = old.reintentos + excluded.reintentos,
      duraciones = {{schema}}.sumar_duraciones(old.duraciones, excluded.duraciones)
$contar_intento$;
COMMENT ON FUNCTION {{schema}}.contar_intento(text, text, timestamptz, text, text, integer, integer, integer, text, bigint) IS
  'Suma un intento a resumen_hora, o lo resta';

-- SECURITY DEFINER: the role of a worker of before has no rights on what is new.
--
-- What it sees of an attempt of several requests comes one by one, in any order: the last one so far counts, in place of the one
-- before it. That one was not counted where both were written by the same command, at whose end this runs.
CREATE FUNCTION {{schema}}.resumir_intento() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $resumir_intento$
DECLARE
  fila    {{schema}}.intento;
  corte   timestamptz;
  otra    record;
  antes   record;
  hay     boolean := false;
  ms      bigint := 0;
  cual    text;
  cuantos integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
  IF TG_OP = 'INSERT' THEN fila := NEW; ELSE fila := OLD; END IF;
  PERFORM pg_advisory_xact_lock_shared(hashtext('resthooks.resumen'), hashtext({{schema_literal}}));
  SELECT p.desde INTO corte FROM {{schema}}.resumen_progreso p;
  IF fila.inicio < corte THEN
    RETURN NULL;
  END IF;
  SELECT e.evento INTO cual FROM {{schema}}.entrega e
   WHERE e.mensaje_id = fila.mensaje_id AND e.listener = fila.listener
     AND (e.instancia, e.proyecto) IS NOT DISTINCT FROM (fila.instancia, fila.proyecto);
  IF fila.error IS DISTINCT FROM 'sin_resultado' THEN
    FOR otra IN
      SELECT i.id, i.pedido, i.inicio, i.duracion_ms, i.resultado, i.xmin AS escrita, i.cmin AS orden FROM {{schema}}.intento i
       WHERE i.mensaje_id = fila.mensaje_id AND (i.instancia, i.proyecto, i.listener, i.numero)
             IS NOT DISTINCT FROM (fila.instancia, fila.proyecto, fila.listener, fila.numero)
         -- The same id, come again, begins with its number 1 anew, later.
         AND i.inicio > fila.inicio - interval '2 hours' AND i.inicio < fila.inicio + interval '2 hours'
         AND i.error IS DISTINCT FROM 'sin_resultado'
       ORDER BY i.pedido
    LOOP
      IF otra.pedido > fila.pedido THEN
        RETURN NULL;
      ELSIF otra.pedido < fila.pedido THEN
        antes := otra;
        hay := true;
        ms := ms + otra.duracion_ms;
      ELSIF otra.id = fila.id AND hay THEN
        hay := (antes.escrita, antes.orden) IS DISTINCT FROM (otra.escrita, otra.orden);
      END IF;
    END LOOP;
    IF hay THEN
      PERFORM {{schema}}.contar_intento(fila.instancia, fila.proyecto, antes.inicio, fila.listener, cual, pg_backend_pid(), -cuantos,
                                        fila.numero, antes.resultado, ms);
    END IF;
  END IF;
  PERFORM {{schema}}.contar_intento(fila.instancia, fila.proyecto, fila.inicio, fila.listener, cual, pg_backend_pid(), cuantos,
                                    fila.numero, fila.resultado, ms + fila.duracion_ms);
  RETURN NULL;
END
$resumir_intento$;
REVOKE ALL ON FUNCTION {{schema}}.resumir_intento() FROM PUBLIC;
COMMENT ON FUNCTION {{schema}}.resumir_intento() IS 'Cuenta en resumen_hora lo que escribe un worker de la version anterior';

-- Creating a trigger waits for those who write attempts, and they wait for the end of this migration: from here on all are counted.
CREATE TRIGGER resumir_intento AFTER INSERT ON {{schema}}.intento
  FOR EACH ROW WHEN (current_setting('resthooks.resumen', true) IS DISTINCT FROM 'escrito')
  EXECUTE FUNCTION {{schema}}.resumir_intento();
-- The row that stood for an outcome goes when the outcome comes; what is purged goes from here too.
CREATE TRIGGER restar_intento AFTER DELETE ON {{schema}}.intento
  FOR EACH ROW WHEN (OLD.error = 'sin_resultado' AND current_setting('resthooks.resumen', true) IS DISTINCT FROM 'escrito')
  EXECUTE FUNCTION {{schema}}.resumir_intento();

INSERT INTO {{schema}}.resumen_progreso
SELECT CASE WHEN EXISTS (SELECT FROM {{schema}}.intento) THEN timestamptz 'infinity' ELSE '-infinity' END;

-- Counts a page of the attempts of before: so long a time, and NULL all of it. Returns from when on they are counted; NULL once all
-- are. Calling it again then does nothing.
CREATE FUNCTION {{schema}}.completar_resumen(cuanto interval DEFAULT NULL) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' AS $completar_resumen$
DECLARE
  corte   timestamptz;
  hasta   timestamptz;
  primero timestamptz;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('resthooks.resumen'), hashtext({{schema_literal}}));
  SELECT desde INTO corte FROM {{schema}}.resumen_progreso;
  IF corte = '-infinity' THEN
    RETURN NULL;
  END IF;
  -- Older than the first month there may be strays; they are the last page.
  SELECT min(to_date(right(c.relname, 7), 'YYYY_MM'))::timestamp AT TIME ZONE 'UTC' INTO primero
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = {{schema_literal}} AND c.relname ~ '^intento_\d{4}_\d{2}$';
  hasta := CASE WHEN cuanto IS NULL OR corte <= primero OR primero IS NULL THEN '-infinity'
                ELSE date_trunc('hour', least(corte, now()) - cuanto, 'UTC') END;

  -- An attempt belongs to the page that has its last request; the others may lie before, or have been begun by the page above.
  INSERT INTO {{schema}}.resumen_hora AS old
  SELECT c.instancia, c.proyecto, c.hora, c.listener, c.evento, 0, sum(c.enviados), sum(c.exitosos), sum(c.fallidos),
         sum(c.reintentos), ARRAY(SELECT coalesce(sum(n), 0)::bigint FROM generate_series(1, max(c.tramo)) AS t
                 LEFT JOIN unnest(array_agg(c.tramo), array_agg(c.enviados)) AS u (cual, n) ON u.cual = t GROUP BY t ORDER BY t)
    FROM (SELECT a.instancia, a.proyecto, date_trunc('hour', a.inicio, 'UTC') AS hora, a.listener, coalesce(e.evento, '') AS evento,
                 {{schema}}.tramo(a.ms) AS tramo, count(*) AS enviados, count(*) FILTER (WHERE a.resultado = 'exito') AS exitosos,
                 count(*) FILTER (WHERE a.resultado = 'fallo') AS fallidos, count(*) FILTER (WHERE a.numero > 1) AS reintentos
            FROM (SELECT p.instancia, p.proyecto, p.mensaje_id, p.listener, p.numero, max(p.inicio) AS inicio,
                         sum(p.duracion_ms) AS ms, (array_agg(p.resultado ORDER BY p.pedido DESC))[1] AS resultado
                    FROM (SELECT i.instancia, i.proyecto, i.mensaje_id, i.listener, i.numero, i.pedido, i.inicio, i.duracion_ms,
                                 i.resultado,
                                 -- The same id, come again, begins with its number 1 anew.
                                 count(*) FILTER (WHERE i.pedido = 1)
                                   OVER (PARTITION BY i.mensaje_id, i.instancia, i.proyecto, i.listener, i.numero
                                         ORDER BY i.inicio, i.pedido) AS vuelta
                            FROM {{schema}}.intento i
                           WHERE i.inicio >= hasta - interval '2 hours' AND i.inicio < corte + interval '2 hours') AS p
                   GROUP BY p.instancia, p.proyecto, p.mensaje_id, p.listener, p.numero, p.vuelta) AS a
            LEFT JOIN {{schema}}.entrega e
              ON e.mensaje_id = a.mensaje_id AND e.listener = a.listener AND e.instancia = a.instancia AND e.proyecto = a.proyecto
           WHERE a.inicio >= hasta AND a.inicio < corte
           GROUP BY 1, 2, 3, 4, 5, 6) AS c
   GROUP BY 1, 2, 3, 4, 5
  ON CONFLICT (instancia, proyecto, hora, listener, evento, parte) DO UPDATE
    SET enviados = old.enviados + excluded.enviados, exitosos = old.exitosos + excluded.exitosos,
        fallidos = old.fallidos + excluded.fallidos, reintentos = old.reintentos + excluded.reintentos,
        duraciones = {{schema}}.sumar_duraciones(old.duraciones, excluded.duraciones);
  UPDATE {{schema}}.resumen_progreso SET desde = hasta;
  RETURN nullif(hasta, '-infinity');
END
$completar_resumen$;
COMMENT ON FUNCTION {{schema}}.completar_resumen(interval) IS
  'Cuenta en resumen_hora los intentos anteriores a esa tabla, por paginas hacia atras';

-- Days are those of the session's time zone.
CREATE OR REPLACE VIEW {{schema}}.resumen_diario AS
SELECT d.dia, d.instancia, d.proyecto, nullif(d.evento, '') COLLATE "C" AS evento, d.listener,
       d.enviados, d.exitosos, d.fallidos, d.reintentos,
       {{schema}}.percentil(0.5, d.duraciones)::bigint AS p50_ms, {{schema}}.percentil(0.95, d.duraciones)::bigint AS p95_ms
  FROM (SELECT h.hora::date AS dia, h.instancia, h.proyecto, h.evento, h.listener,
               sum(h.enviados)::bigint AS enviados, sum(h.exitosos)::bigint AS exitosos,
               sum(h.fallidos)::bigint AS fallidos, sum(h.reintentos)::bigint AS reintentos,
               ARRAY[sum(h.duraciones[1]), sum(h.duraciones[2]), sum(h.duraciones[3]), sum(h.duraciones[4]), sum(h.duraciones[5]),
                     sum(h.duraciones[6]), sum(h.duraciones[7]), sum(h.duraciones[8]), sum(h.duraciones[9]), sum(h.duraciones[10]),
                     sum(h.duraciones[11]), sum(h.duraciones[12]), sum(h.duraciones[13]), sum(h.duraciones[14]), sum(h.duraciones[15]),
                     sum(h.duraciones[16]), sum(h.duraciones[17]), sum(h.duraciones[18]), sum(h.duraciones[19]), sum(h.duraciones[20]),
                     sum(h.duraciones[21]), sum(h.duraciones[22]), sum(h.duraciones[23]), sum(h.duraciones[24]), sum(h.duraciones[25]),
                     sum(h.duraciones[26]), sum(h.duraciones[27]), sum(h.duraciones[28]), sum(h.duraciones[29]), sum(h.duraciones[30]),
                     sum(h.duraciones[31]), sum(h.duraciones[32]), sum(h.duraciones[33]), sum(h.duraciones[34]), sum(h.duraciones[35])] AS duraciones
          FROM {{schema}}.resumen_hora h
         GROUP BY 1, 2, 3, 4, 5) AS d
 WHERE d.enviados > 0;
COMMENT ON VIEW {{schema}}.resumen_diario IS
  'Por dia, evento y listener: intentos enviados, exitosos, fallidos sin otro reintento, reintentos, y duracion mediana y p95';

-- Whoever has rights on entrega has the same on what is new here: a worker counts what it writes.
DO $permisos$
DECLARE
  permiso record;
BEGIN
  FOR permiso IN
    SELECT pg_get_userbyid(a.grantee) AS rol, a.privilege_type AS que, t AS tabla
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS a,
           unnest(ARRAY['accion', 'resumen_hora', 'resumen_progreso']) AS t
     WHERE n.nspname = {{schema_literal}} AND c.relname = 'entrega' AND a.grantee NOT IN (0, c.relowner)
       AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
       AND (t <> 'resumen_progreso' OR a.privilege_type = 'SELECT')
  LOOP
    EXECUTE format('GRANT %s ON %I.%I TO %I', permiso.que, {{schema_literal}}, permiso.tabla, permiso.rol);
  END LOOP;
END
$permisos$;
