/** A private nginx that answers every request at once: the listener of the benchmark. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../support/ports.ts'
import { findProgram } from '../support/programs.ts'
import { until } from '../support/until.ts'

export interface Nginx {
  readonly url: string
  readonly pid: number
  /** Requests answered so far, without those that asked for this. */
  requests(): Promise<number>
  stop(): Promise<void>
}

/** @throws when nginx is not installed, in Spanish */
export async function startNginx(): Promise<Nginx> {
  const program = findProgram('nginx')
  if (program === null) {
    throw new Error('Hace falta nginx, que es el listener de la medición: sudo apt-get install nginx-light (y repita)')
  }
  const folder = await mkdtemp(join(tmpdir(), 'resthooks-nginx-'))
  const port = await freePort()
  const file = join(folder, 'nginx.conf')
  await writeFile(file, configuration(folder, port))
  const child = spawn(program, ['-e', join(folder, 'error.log'), '-p', folder, '-c', file], { stdio: 'ignore' })
  const url = `http://127.0.0.1:${port}`
  let asked = 0
  const requests = async () => {
    asked += 1
    const text = await (await fetch(`${url}/estado`)).text()
    const [, total] = /requests\s+\d+ \d+ (\d+)/.exec(text) ?? []
    if (total === undefined) throw new Error(`nginx answered ${JSON.stringify(text)}`)
    return Number(total) - asked
  }
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
    }
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await until(() => fetch(`${url}/estado`).then(({ ok }) => ok), { timeout: 5_000, what: `nginx on port ${port}` })
    // What was asked while it started is not known exactly: counted from here.
    const text = await (await fetch(`${url}/estado`)).text()
    asked = Number(/requests\s+\d+ \d+ (\d+)/.exec(text)?.[1])
  } catch (error) {
    await stop()
    throw error
  }
  return { url, pid: child.pid!, requests, stop }
}

function configuration(folder: string, port: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `
daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes 1;
pid ${folder}/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  client_max_body_size 16m;
  # A connection lives as long as its client wants: what is measured is the client.
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    default_type application/json;
    location = /estado { stub_status; }
    location / { return 200 '{"ok":true}'; }
  }
}
`
}
