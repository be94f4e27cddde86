/**
 * What the page's server and its browser part say to each other: JSON of `/api/…`. Instants are ISO 8601; whatever came from
 * outside has passed the cleaner, and is text.
 */

export type Role = 'lectura' | 'operacion' | 'administracion'

/** What can be done here, each from that role on. */
export const ACTIONS = {
  reenviar: 'operacion',
  pausar: 'operacion',
  reanudar: 'operacion',
  probar: 'operacion',
  descartar: 'administracion',
} as const satisfies Readonly<Record<string, Role>>
export type Action = keyof typeof ACTIONS

export interface Refusal {
  /** A sentence. */
  readonly error: string
  /** What does not answer: told on top of whatever is shown. */
  readonly falta?: 'redis' | 'postgres'
  /** Ms until it makes sense to try again. */
  readonly espera?: number
}

/** `GET api/sesion`; 401 with `Entrada` where nobody is logged in. */
export interface SessionInfo {
  readonly usuario: string
  readonly rol: Role
  readonly puede: readonly Action[]
  readonly cuerpos: boolean
  /** How it was let in: of a proxy's there is no way out but the proxy's own. */
  readonly entrada: 'llave' | 'clave' | 'proxy'
  readonly instancia: string
  readonly proyecto: string
  readonly version: string
  readonly listeners: readonly string[]
}

/** Beside the sentence of a 401: by which door one gets in. */
export interface Doors extends Refusal {
  readonly puertas: readonly ('llave' | 'clave' | 'proxy')[]
}

export type State = 'pendiente' | 'reintentando' | 'exitosa' | 'fallida' | 'descartada'

export interface Row {
  readonly id: string
  readonly evento: string
  /** '': no listener got it. */
  readonly listener: string
  readonly estado: State | 'sin listener'
  readonly intentos: number
  readonly creado: string
  readonly actualizado: string
  readonly motivo: string
}

/** One condition of a search, as a chip; `palabra`: how it stands in the box. */
export interface Chip {
  readonly nombre: string
  readonly valor: string
  readonly palabra: string
}

/** `GET api/mensajes?q=…&despues=…` */
export interface Listing {
  readonly chips: readonly Chip[]
  /** What was asked for, in a sentence: of an empty result too. */
  readonly buscado: string
  /** The range was not asked for: the last 24 hours. */
  readonly porOmision: boolean
  readonly filas: readonly Row[]
  /** Of the next page; null: this is the last. */
  readonly siguiente: string | null
}

/** `GET api/cantidad?q=…` */
export interface Count {
  readonly cantidad: number
}

export interface Body {
  readonly bytes: number
  readonly tipo: string
  readonly sha256: string
  /** Indented without touching what is in it; null: no text, or not for this role. */
  readonly texto: string | null
  /** The text goes on: it can be downloaded. */
  readonly cortado: boolean
  readonly oculto: boolean
}

export type Pairs = readonly (readonly [name: string, value: string])[]

export interface Attempt {
  readonly id: string
  readonly numero: number
  readonly pedido: number
  readonly inicio: string
  readonly duracion: number
  /** How long each phase took, in order; the rest of `duracion` is the rest of the answer. */
  readonly fases: readonly (readonly [name: string, ms: number])[]
  readonly http: number | null
  /** In a sentence. */
  readonly frase: string
  readonly worker: string
}

export interface Delivery {
  readonly listener: string
  readonly estado: State
  readonly intentos: number
  readonly actualizado: string
  /** The outcome. */
  readonly frase: string
  /** Why it waits; null: it does not, or Redis does not answer. */
  readonly espera: string | null
  readonly pedidos: readonly Attempt[]
  /** What a person did to it last. */
  readonly acciones: readonly { readonly fecha: string; readonly texto: string }[]
  readonly callbacks: readonly { readonly fecha: string; readonly texto: string; readonly bien: boolean }[]
}

/** What does not answer, where the rest does. */
interface Incomplete {
  readonly falta?: 'redis' | 'postgres'
  readonly aviso?: string
}

/** `GET api/mensajes/ID` */
export interface Message extends Incomplete {
  readonly id: string
  readonly evento: string
  readonly resumen: string
  /** Name and value, in the order in which they are told. */
  readonly datos: Pairs
  readonly creado: string | null
  readonly cabeceras: Pairs
  readonly cuerpo: Body | null
  readonly entregas: readonly Delivery[]
}

/** `GET api/mensajes/ID/pedidos/PEDIDO` */
export interface Exchange {
  readonly linea: string
  readonly pedidoCabeceras: Pairs
  readonly pedidoCuerpo: Body | null
  readonly http: number | null
  readonly respuestaCabeceras: Pairs
  readonly respuestaCuerpo: Body | null
  readonly truncada: boolean
  readonly error: string | null
  readonly ip: string | null
  readonly curl: string
}

export interface ProblemRow {
  readonly quien: string
  readonly listener: string | null
  readonly gravedad: 'mal' | 'atencion' | 'nota'
  readonly signo: string
  readonly causa: string
  readonly desde: string | null
  readonly esperan: number | null
  readonly fallidas: number
  readonly sigue: { readonly que: string; readonly cuando: string } | null
  /** The command that helps, without `resthooks`, or where to look. */
  readonly queHacer: string
  /** The same with its command as it is typed. */
  readonly orden: string
  readonly pausado: boolean
}

export interface ListenerRow {
  readonly listener: string
  readonly configurado: boolean
  readonly enCola: number
  readonly enCurso: number
  readonly reintentos: number
  readonly fallidas: number
  /** Ms. */
  readonly masAntigua: number | null
  readonly pausado: boolean
  readonly corte: string
  /** How it stands where there is no problem. */
  readonly situacion: 'al_dia' | 'reintenta' | 'fallo'
  readonly problema: ProblemRow | null
}

/** `GET api/inicio`, and the stream's `inicio`. */
export interface Home {
  readonly fecha: string
  readonly veredicto: 'bien' | 'atencion' | 'mal'
  readonly resumen: string
  readonly problemas: readonly ProblemRow[]
  readonly alDia: readonly string[]
  readonly servicios: readonly { readonly nombre: string; readonly dice: string; readonly bien: boolean }[]
  readonly listeners: readonly ListenerRow[]
  readonly workers: readonly {
    readonly nombre: string
    readonly estado: 'vivo' | 'atrasado' | 'muerto'
    readonly desde: string
    readonly enCurso: number
    readonly version: string
    readonly configuracion: string
    readonly distinta: boolean
  }[]
}

/** `GET api/listeners/NOMBRE` */
export interface ListenerPage extends ListenerRow {
  readonly datos: Pairs
  /** Null: Postgres does not answer. */
  readonly errores: readonly Row[] | null
}

/** `POST api/previa`: a search's deliveries, those chosen, or a listener. */
export interface Asked {
  readonly action: Action
  readonly q?: string
  readonly entregas?: readonly (readonly [id: string, listener: string])[]
  readonly listener?: string
  /** Of `probar`: what that message would send. */
  readonly mensaje?: string
}

export interface Preview {
  /** To be given back to `POST api/hacer`. */
  readonly id: string
  readonly accion: Action
  readonly cantidad: number
  readonly primeras: readonly Row[]
  readonly porListener: readonly { readonly listener: string; readonly cantidad: number }[]
  readonly dice: string
  readonly pasara: string
  /** The equivalent command. */
  readonly orden: string
}

/** `GET api/tareas/ID` */
export interface Task {
  readonly id: string
  readonly accion: Action
  readonly dice: string
  readonly total: number
  readonly hechas: number
  readonly estado: 'en curso' | 'terminada' | 'falló'
  readonly texto: string
  readonly detalle: readonly string[]
}

/** `GET api/acciones`: what people did, the newest first. */
export interface Done {
  readonly id: string
  readonly fecha: string
  readonly quien: string
  readonly equipo: string
  readonly orden: string
  readonly filtro: string
  readonly cantidad: number
}

export interface DonePage {
  readonly filas: readonly Done[]
  /** Null: there are no more. */
  readonly siguiente: string | null
}

/** `GET api/serie?periodo=…` */
export interface Series {
  readonly periodo: '1h' | '24h' | '30d'
  readonly puntos: readonly {
    readonly hora: string
    readonly enviados: number
    readonly exitosos: number
    readonly reintentos: number
    readonly fallidos: number
    /** Ms. */
    readonly p95: number | null
  }[]
}
