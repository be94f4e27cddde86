/** The rows of the table, in its order. */
import type { Row } from '../row.ts'
import { entregas } from './entregas.ts'

export const ROWS: readonly Row[] = [entregas]
