/** TLS to Postgres, as libpq’s sslmode has it. */
import { execFile } from 'node:child_process'
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { openDatabase } from '../../src/audit/database.ts'
import type { AuditConfig } from '../../src/config/config.ts'
import { openssl } from '../support/certificates.ts'
import { ordinaryAccount, type PostgresServer, startPostgres } from '../support/postgres-server.ts'
import { auditConfig, closedBackends, message, messageEvent } from './scenery.ts'

const event = () => messageEvent(message(), ['a'])
const backendOf = closedBackends()

describe.skipIf(openssl.missing)(`TLS${openssl.note}`, () => {
  let server: PostgresServer
  let folder: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'resthooks-tls-'))
    await chmod(folder, 0o755)
    const [key, cert] = [join(folder, 'server.key'), join(folder, 'server.crt')]
    await promisify(execFile)('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-keyout', key, '-out', cert, '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'],
    ])
    // Postgres takes a key of its own user alone (0600), who is another one when root runs this.
    const { uid = null, gid = null } = ordinaryAccount() as { uid?: number; gid?: number }
    if (uid !== null && gid !== null) await chown(key, uid, gid)
    await chmod(key, 0o600)
    server = await startPostgres(['-c', 'ssl=on', '-c', `ssl_cert_file=${cert}`, '-c', `ssl_key_file=${key}`])
  })
  afterAll(async () => {
    await server?.stop()
    await rm(folder, { recursive: true, force: true })
  })
  afterEach(() => vi.unstubAllEnvs())

  const encrypted = async (changes: Partial<AuditConfig>) => {
    const database = openDatabase(auditConfig({ port: server.port, host: 'localhost', ...changes }), null, {
      connections: 1,
    })
    try {
      const [row] = await database.transaction((session) =>
        session.query<{ ssl: boolean }>('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'),
      )
      return row!.ssl
    } finally {
      await database.close()
    }
  }

  test.each([
    ['disable', false],
    ['allow', true],
    ['prefer', true],
    ['require', true],
  ] as const)('sslmode=%s: encrypted %s', async (sslmode, expected) => {
    expect(await encrypted({ sslmode })).toBe(expected)
  })

  test('verify-full wants a certificate that an authority vouches for, of that very host', async () => {
    const refused = {
      code: 'CONFIGURACION',
      message: expect.stringMatching(/verificar la conexión SSL.*PGSSLROOTCERT/),
    }
    const config = auditConfig({ port: server.port, host: 'localhost', sslmode: 'verify-full' })
    await expect(backendOf(config).write([event()])).rejects.toMatchObject(refused)

    vi.stubEnv('PGSSLROOTCERT', join(folder, 'server.crt'))
    expect(await encrypted({ sslmode: 'verify-full' })).toBe(true)
    expect(await encrypted({ sslmode: 'verify-ca', host: '127.0.0.1' })).toBe(true)
    await expect(backendOf({ ...config, host: '127.0.0.1' }).write([event()])).rejects.toMatchObject(refused)
  })
})
