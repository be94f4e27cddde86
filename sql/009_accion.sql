-- 009: what a person did, and which deliveries it touched.
--
-- An action is told twice: when it begins, with cantidad 0, and when it has ended. Its id is a ULID: of several the last one has the
-- greatest.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (9, '009_accion');

CREATE TABLE {{schema}}.accion (
  id        text COLLATE "C" NOT NULL,
  instancia text COLLATE "C" NOT NULL,
  proyecto  text COLLATE "C" NOT NULL,
  fecha     timestamptz(3) NOT NULL,
  quien     text NOT NULL,
  equipo    text NOT NULL,
  orden     text NOT NULL,
  filtro    text,
  cantidad  bigint NOT NULL,
  PRIMARY KEY (instancia, proyecto, id)
);
COMMENT ON TABLE {{schema}}.accion IS 'Una fila por cada cosa que hizo una persona: reenviar, descartar, pausar';
COMMENT ON COLUMN {{schema}}.accion.orden IS 'La linea de comandos, o lo que se pidio en la pagina, sin secretos';
COMMENT ON COLUMN {{schema}}.accion.filtro IS 'Que se eligio';
COMMENT ON COLUMN {{schema}}.accion.cantidad IS 'A cuantas entregas toco; 0 mientras no termino';

ALTER TABLE {{schema}}.entrega ADD COLUMN accion text COLLATE "C";
COMMENT ON COLUMN {{schema}}.entrega.accion IS 'La ultima accion de una persona que la toco';

-- Nearly always empty: it costs those who write nothing.
CREATE INDEX entrega_accion ON {{schema}}.entrega (accion) WHERE accion IS NOT NULL;
