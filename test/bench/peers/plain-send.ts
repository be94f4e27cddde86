/** The least that a program written with the same libraries does: read the command line, LPUSH, print an id. */
import { Command } from 'commander'
import { Redis } from 'ioredis'
import { ulid } from 'ulid'

await new Command('plano')
  .addCommand(
    new Command('send')
      .argument('<evento>')
      .argument('<datos>')
      .option('--host <host>', 'Redis', '127.0.0.1')
      .option('--port <port>', 'Redis', '6379')
      .action(async (event: string, data: string, { host, port }: { host: string; port: string }) => {
        const redis = new Redis({ host, port: Number(port) })
        const id = ulid()
        await redis.lpush('plano', JSON.stringify({ v: 1, id, evento: event, cuerpo: data }))
        redis.disconnect()
        process.stdout.write(`${id}\n`)
      }),
  )
  .parseAsync()
