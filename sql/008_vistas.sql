-- 008: an attempt belongs to one message.
--
-- An id may come again, months later, as a second row of mensaje: joined by id alone, each of its attempts was there twice. Here
-- each has the last of those received before it began, else (the clocks of two machines) the first.
--
-- LATERAL: one look into the primary key an attempt. Whoever asks for one id or one day does not read all of mensaje, as a hash
-- join did.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (8, '008_vistas');

-- Its EXCEPTION is a subtransaction, which a parallel query may not start, whoever runs it.
ALTER FUNCTION {{schema}}.texto(bytea) PARALLEL UNSAFE;

CREATE OR REPLACE VIEW {{schema}}.trazabilidad AS
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
  LEFT JOIN LATERAL (
       SELECT c.evento, c.creado, c.recibido, c.origen, c.clave, c.tipo_contenido, c.cuerpo FROM {{schema}}.mensaje c
        WHERE c.id = i.mensaje_id AND c.instancia = i.instancia AND c.proyecto = i.proyecto
        ORDER BY c.recibido <= i.inicio DESC, abs(extract(epoch FROM i.inicio - c.recibido))
        LIMIT 1) m ON true
  LEFT JOIN {{schema}}.entrega e
    ON e.mensaje_id = i.mensaje_id AND e.listener = i.listener
   AND e.instancia = i.instancia AND e.proyecto = i.proyecto;

-- An id that came again on the same day has two first attempts, told apart by when their message was received.
CREATE OR REPLACE VIEW {{schema}}.resumen_diario AS
SELECT a.dia, a.instancia, a.proyecto, a.evento, a.listener,
       count(*)                                            AS enviados,
       count(*) FILTER (WHERE a.resultado = 'exito')       AS exitosos,
       count(*) FILTER (WHERE a.resultado = 'fallo')       AS fallidos,
       count(*) FILTER (WHERE a.numero > 1)                AS reintentos,
       percentile_disc(0.5)  WITHIN GROUP (ORDER BY a.ms)  AS p50_ms,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY a.ms)  AS p95_ms
  FROM (SELECT i.inicio::date AS dia, i.instancia, i.proyecto, m.evento, i.mensaje_id, m.recibido, i.listener, i.numero,
               sum(i.duracion_ms) AS ms,
               (array_agg(i.resultado ORDER BY i.pedido DESC))[1] AS resultado
          FROM {{schema}}.intento i
          LEFT JOIN LATERAL (
               SELECT c.evento, c.recibido FROM {{schema}}.mensaje c
                WHERE c.id = i.mensaje_id AND c.instancia = i.instancia AND c.proyecto = i.proyecto
                ORDER BY c.recibido <= i.inicio DESC, abs(extract(epoch FROM i.inicio - c.recibido))
                LIMIT 1) m ON true
         GROUP BY 1, 2, 3, 4, 5, 6, 7, 8) a
 GROUP BY 1, 2, 3, 4, 5;
