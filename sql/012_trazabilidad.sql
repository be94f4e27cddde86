-- 012: trazabilidad of one event reads that event's messages, not all attempts.
--
-- As in 008 an attempt belongs to the last message of its id received before it began, else to the first, and is one row. The LIMIT
-- that says so lets no condition through: the event is taken from the same message once more, found by its whole key from an attempt,
-- or by mensaje_recibido where an event is asked for, and from there the attempts by theirs.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (12, '012_trazabilidad');

CREATE OR REPLACE VIEW {{schema}}.trazabilidad AS
SELECT i.instancia, i.proyecto, i.mensaje_id, v.evento, i.listener,
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
       SELECT c.creado, c.recibido, c.origen, c.clave, c.tipo_contenido, c.cuerpo FROM {{schema}}.mensaje c
        WHERE c.id = i.mensaje_id AND c.instancia = i.instancia AND c.proyecto = i.proyecto
        ORDER BY c.recibido <= i.inicio DESC, abs(extract(epoch FROM i.inicio - c.recibido))
        LIMIT 1) m ON true
  LEFT JOIN {{schema}}.mensaje v
    ON v.id = i.mensaje_id AND v.instancia = i.instancia AND v.proyecto = i.proyecto AND v.recibido = m.recibido
  LEFT JOIN {{schema}}.entrega e
    ON e.mensaje_id = i.mensaje_id AND e.listener = i.listener
   AND e.instancia = i.instancia AND e.proyecto = i.proyecto;
