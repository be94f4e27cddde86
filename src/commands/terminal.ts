/** Questions to a person at a terminal. Apart from the command that asks: it is all that knows of echo and of Ctrl-C. */
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { OperationFailed } from '../errors.ts'

export interface Terminal {
  /** @param question with all that stands before the answer */
  ask(question: string): Promise<string>
  /** @param fallback what an empty answer means; without one it is asked again */
  line(question: string, fallback?: string): Promise<string>
  /** What is typed is not shown, and nothing of it is cut off. */
  hidden(question: string): Promise<string>
  close(): void
}

/** Null where nobody can be asked: questions go to stderr, since stdout has the results. */
export function openTerminal(): Terminal | null {
  if (process.stdin.isTTY !== true || process.stderr.isTTY !== true) return null
  let echo = true
  const output = new Writable({
    write: (chunk, _encoding, done) => {
      if (echo) process.stderr.write(chunk)
      done()
    },
  })
  const readline = createInterface({ input: process.stdin, output, terminal: true })
  const gone = new AbortController()
  readline.once('close', () => gone.abort())
  readline.once('SIGINT', () => {
    process.stderr.write('\n')
    process.exit(130)
  })
  const answer = async (question: string): Promise<string> => {
    try {
      return await readline.question(question, { signal: gone.signal })
    } catch (error) {
      if (!gone.signal.aborted) throw error
      throw new OperationFailed('La entrada terminó antes de la última respuesta: no se hizo nada.')
    }
  }
  const ask = async (question: string) => (await answer(question)).trim()
  return {
    ask,
    line: async (question, fallback) => {
      for (;;) {
        const given = await ask(`${question}${fallback === undefined ? '' : ` [${fallback}]`}: `)
        if (given !== '' || fallback !== undefined) return given === '' ? fallback! : given
        process.stderr.write('  hace falta una respuesta (Ctrl-C: dejarlo; no se escribió ningún archivo)\n')
      }
    },
    hidden: async (question) => {
      process.stderr.write(`${question}: `)
      echo = false
      try {
        return await answer('')
      } finally {
        echo = true
        process.stderr.write('\n')
      }
    },
    close: () => readline.close(),
  }
}
