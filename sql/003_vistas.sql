-- 003: what people read.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (3, '003_vistas');

-- A body as text where it is text. What this database's encoding cannot hold is shown escaped byte by byte.
CREATE FUNCTION {{schema}}.texto(bytes bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $texto$
BEGIN
  IF position(decode('00', 'hex') IN bytes) > 0 THEN
    RETURN '(binario, ' || length(bytes) || ' bytes)';
  END IF;
  RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
  RETURN encode(bytes, 'escape');
END
$texto$;
COMMENT ON FUNCTION {{schema}}.texto(bytea) IS 'Un cuerpo como texto, donde es texto';

CREATE VIEW {{schema}}.trazabilidad AS
SELECT i.instancia, i.proyecto, i.mensaje_id, m.evento, i.listener,
       i.numero, i.pedido, i.inicio, i.duracion_ms, i.metodo, i.url, i.ip,
       i.http_estado, i.error, i.error_detalle, i.resultado,
       e.estado, e.intentos, e.motivo, i.proximo_intento,
       m.creado, m.recibido, m.origen, m.clave, m.tipo_contenido,
       {{schema}}.texto(m.cuerpo) AS cuerpo,
       i.pedido_cabeceras, i.respuesta_cabeceras,
       {{schema}}.texto(i.respuesta_cuerpo) AS respuesta_cuerpo,
       i.respuesta_truncada, i.worker
  FROM {{schema}}.intento i
  LEFT JOIN {{schema}}.mensaje m
    ON m.id = i.mensaje_id AND m.instancia = i.instancia AND m.proyecto = i.proyecto
  LEFT JOIN {{schema}}.entrega e
    ON e.mensaje_id = i.mensaje_id AND e.listener = i.listener
   AND e.instancia = i.instancia AND e.proyecto = i.proyecto;
COMMENT ON VIEW {{schema}}.trazabilidad IS 'Una fila por pedido HTTP, con el evento, el estado de la entrega y los cuerpos como texto';

-- An attempt of several requests (digest, redirections) counts once: with the result of its last request and the time of
-- all of them. Days are those of the session's time zone.
CREATE VIEW {{schema}}.resumen_diario AS
SELECT a.dia, a.instancia, a.proyecto, m.evento, a.listener,
       count(*)                                            AS enviados,
       count(*) FILTER (WHERE a.resultado = 'exito')       AS exitosos,
       count(*) FILTER (WHERE a.resultado = 'fallo')       AS fallidos,
       count(*) FILTER (WHERE a.numero > 1)                AS reintentos,
       percentile_disc(0.5)  WITHIN GROUP (ORDER BY a.ms)  AS p50_ms,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY a.ms)  AS p95_ms
  FROM (SELECT i.inicio::date AS dia, i.instancia, i.proyecto, i.mensaje_id, i.listener, i.numero,
               sum(i.duracion_ms) AS ms,
               (array_agg(i.resultado ORDER BY i.pedido DESC))[1] AS resultado
          FROM {{schema}}.intento i
         GROUP BY 1, 2, 3, 4, 5, 6) a
  LEFT JOIN {{schema}}.mensaje m
    ON m.id = a.mensaje_id AND m.instancia = a.instancia AND m.proyecto = a.proyecto
 GROUP BY 1, 2, 3, 4, 5;
COMMENT ON VIEW {{schema}}.resumen_diario IS
  'Por dia, evento y listener: intentos enviados, exitosos, fallidos sin otro reintento, reintentos, y duracion mediana y p95';
