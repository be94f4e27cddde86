/** The rows of the table, in its order. */
import type { Row } from '../row.ts'
import { caido } from './caido.ts'
import { consultas } from './consultas.ts'
import { entregas } from './entregas.ts'
import { escala } from './escala.ts'
import { espera } from './espera.ts'
import { latencia } from './latencia.ts'
import { lote } from './lote.ts'
import { memoria } from './memoria.ts'
import { ocioso } from './ocioso.ts'
import { postgres } from './postgres.ts'
import { send } from './send.ts'

export const ROWS: readonly Row[] = [
  entregas,
  escala,
  lote,
  send,
  latencia,
  espera,
  caido,
  ocioso,
  memoria,
  postgres,
  consultas,
]
