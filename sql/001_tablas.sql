-- 001: the tables of the audit, and their indexes.
--
-- {{schema}} is replaced by the schema's name, quoted. Plain ASCII, so that it runs in a database of any encoding.
--
-- The hot path is inserting: 10,000 requests a second, hence few indexes. Ids are compared byte by byte (COLLATE "C"):
-- it is faster, it is the same in every database, and LIKE 'prefix%' can use the index.
--
-- Several projects share these tables: instancia and proyecto say whose a row is.
--
-- What the program pages by is timestamptz(3): it reads milliseconds, and a row changed by hand (now() has microseconds)
-- would otherwise always lie beyond the page that ended with it.

CREATE TABLE {{schema}}.migracion (
  version  integer PRIMARY KEY,
  nombre   text NOT NULL,
  aplicada timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {{schema}}.migracion IS 'Migraciones de sql/ ya aplicadas a este esquema';

-- First of all, so that two migrations at once cannot both go on.
INSERT INTO {{schema}}.migracion (version, nombre) VALUES (1, '001_tablas');

CREATE TABLE {{schema}}.mensaje (
  id             text COLLATE "C" NOT NULL,
  instancia      text COLLATE "C" NOT NULL,
  proyecto       text COLLATE "C" NOT NULL,
  evento         text COLLATE "C" NOT NULL,
  metodo         text,
  ruta           text,
  cabeceras      jsonb NOT NULL,
  tipo_contenido text,
  cuerpo         bytea,
  clave          text,
  origen         text,
  listeners      integer,
  creado         timestamptz NOT NULL,
  recibido       timestamptz(3) NOT NULL,
  no_antes_de    timestamptz,
  solo_listener  text,
  profundidad    smallint NOT NULL DEFAULT 0,
  PRIMARY KEY (id, instancia, proyecto, recibido)
) PARTITION BY RANGE (recibido);
COMMENT ON TABLE {{schema}}.mensaje IS 'Una fila por mensaje tomado de la cola; una parte por mes de recibido';
COMMENT ON COLUMN {{schema}}.mensaje.cuerpo IS 'Los bytes enviados; NULL si ningun listener quiere que se guarden (auditar_cuerpo = 0)';
COMMENT ON COLUMN {{schema}}.mensaje.listeners IS 'Listeners que lo reciben; NULL mientras corre su demora';

CREATE TABLE {{schema}}.mensaje_otros PARTITION OF {{schema}}.mensaje DEFAULT;

-- auditoria --evento
CREATE INDEX mensaje_evento ON {{schema}}.mensaje (instancia, proyecto, evento, recibido);
-- recuperar: the delayed ones, always few
CREATE INDEX mensaje_demorado ON {{schema}}.mensaje (instancia, proyecto, recibido) WHERE listeners IS NULL;

CREATE TABLE {{schema}}.entrega (
  mensaje_id      text COLLATE "C" NOT NULL,
  listener        text COLLATE "C" NOT NULL,
  instancia       text COLLATE "C" NOT NULL,
  proyecto        text COLLATE "C" NOT NULL,
  estado          text COLLATE "C" NOT NULL
                  CHECK (estado IN ('pendiente', 'reintentando', 'exitosa', 'fallida', 'descartada')),
  intentos        integer NOT NULL,
  proximo_intento timestamptz,
  motivo          text,
  creado          timestamptz(3) NOT NULL,
  actualizado     timestamptz(3) NOT NULL,
  version         bigint NOT NULL,
  PRIMARY KEY (mensaje_id, listener, instancia, proyecto)
);
COMMENT ON TABLE {{schema}}.entrega IS 'Estado actual de cada mensaje para cada listener';
COMMENT ON COLUMN {{schema}}.entrega.version IS 'Crece con cada cambio: un estado viejo que llega tarde no pisa a uno nuevo';

-- auditoria, newest first, of everything and of one listener
CREATE INDEX entrega_creado ON {{schema}}.entrega (instancia, proyecto, creado);
CREATE INDEX entrega_listener ON {{schema}}.entrega (instancia, proyecto, listener, creado);
-- the few that did not succeed: estado's counts, auditoria --estado, recuperar
CREATE INDEX entrega_estado ON {{schema}}.entrega (instancia, proyecto, estado, creado, mensaje_id, listener)
  WHERE estado <> 'exitosa';
-- auditoria --seguir: what changed lately sits in the last pages
CREATE INDEX entrega_actualizado ON {{schema}}.entrega USING brin (actualizado)
  WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE {{schema}}.intento (
  id                  text COLLATE "C" NOT NULL,
  mensaje_id          text COLLATE "C" NOT NULL,
  listener            text COLLATE "C" NOT NULL,
  instancia           text COLLATE "C" NOT NULL,
  proyecto            text COLLATE "C" NOT NULL,
  numero              integer NOT NULL,
  pedido              smallint NOT NULL,
  inicio              timestamptz NOT NULL,
  duracion_ms         integer NOT NULL,
  fases               jsonb,
  metodo              text NOT NULL,
  url                 text NOT NULL,
  ip                  text,
  pedido_cabeceras    jsonb NOT NULL,
  http_estado         integer,
  respuesta_cabeceras jsonb,
  respuesta_cuerpo    bytea,
  respuesta_truncada  boolean NOT NULL DEFAULT false,
  error               text,
  error_detalle       text,
  resultado           text NOT NULL CHECK (resultado IN ('exito', 'reintento', 'fallo')),
  proximo_intento     timestamptz,
  worker              text NOT NULL,
  PRIMARY KEY (mensaje_id, id, pedido, inicio)
) PARTITION BY RANGE (inicio);
COMMENT ON TABLE {{schema}}.intento IS 'Una fila por pedido HTTP hecho; una parte por mes de inicio';
COMMENT ON COLUMN {{schema}}.intento.pedido IS 'Orden del pedido dentro del intento: un desafio digest o una redireccion son pedidos aparte';
COMMENT ON COLUMN {{schema}}.intento.fases IS 'Milisegundos de cada fase medida: dns, conexion, tls, primer_byte';

CREATE TABLE {{schema}}.intento_otros PARTITION OF {{schema}}.intento DEFAULT;

-- WHERE inicio > ... in queries written by people; it costs next to nothing
CREATE INDEX intento_inicio ON {{schema}}.intento USING brin (inicio) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE {{schema}}.callback (
  id         text COLLATE "C" NOT NULL,
  mensaje_id text COLLATE "C" NOT NULL,
  listener   text COLLATE "C" NOT NULL,
  instancia  text COLLATE "C" NOT NULL,
  proyecto   text COLLATE "C" NOT NULL,
  tipo       text NOT NULL CHECK (tipo IN ('on_success', 'on_failure')),
  destino    text NOT NULL,
  intento    integer NOT NULL,
  resultado  text NOT NULL CHECK (resultado IN ('exito', 'reintento', 'fallo')),
  detalle    text,
  fecha      timestamptz NOT NULL,
  PRIMARY KEY (mensaje_id, id, intento, instancia, proyecto)
);
COMMENT ON TABLE {{schema}}.callback IS 'Una fila por ejecucion de un on_success u on_failure';

CREATE TABLE {{schema}}.auditoria_rechazada (
  huella      text COLLATE "C" PRIMARY KEY,
  instancia   text COLLATE "C" NOT NULL,
  proyecto    text COLLATE "C" NOT NULL,
  evento_json text NOT NULL,
  sqlstate    text,
  motivo      text NOT NULL,
  fecha       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {{schema}}.auditoria_rechazada IS 'Lo que la base no acepto por su contenido, entero, con el motivo';
