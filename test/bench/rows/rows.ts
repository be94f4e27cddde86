/** The rows of the table, in its order. */
import type { Row } from '../row.ts'
import { entregas } from './entregas.ts'
import { escala } from './escala.ts'
import { latencia } from './latencia.ts'
import { lote } from './lote.ts'
import { send } from './send.ts'

export const ROWS: readonly Row[] = [entregas, escala, lote, send, latencia]
