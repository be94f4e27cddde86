/** Gathers messages until they are worth a script: a hundred items, or a megabyte: what holds Redis for a moment. */
import type { Bytes } from '../model/message.ts'
import type { RestoredMessage } from '../queue/admin.ts'

const ITEMS = 100
const BYTES: Bytes = 1024 * 1024

export class Batches {
  readonly #send: (messages: readonly RestoredMessage[]) => Promise<void>
  #messages: RestoredMessage[] = []
  #items = 0
  #bytes = 0

  constructor(send: (messages: readonly RestoredMessage[]) => Promise<void>) {
    this.#send = send
  }

  async add(message: RestoredMessage): Promise<void> {
    this.#messages.push(message)
    this.#items += message.items.length
    this.#bytes += message.envelope.length
    if (this.#items >= ITEMS || this.#bytes >= BYTES) await this.flush()
  }

  async flush(): Promise<void> {
    const messages = this.#messages
    this.#messages = []
    this.#items = 0
    this.#bytes = 0
    if (messages.length > 0) await this.#send(messages)
  }
}
