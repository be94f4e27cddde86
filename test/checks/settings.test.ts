/** The table of settings that `verificar` shows. */
import { expect, test } from 'vitest'
import { settingRows } from '../../src/checks/configuration.ts'
import { folder } from '../config/folder.ts'

const INI = `
resthooks_activo = 1
[redis_config]
port = 7000
[auditoria]
retencion = 90d
[workers]
arriendo = 45s
[reintentos]
esperas = 5s, 5m
[reintentos corto]
estrategia = exponencial
espera_inicial = 1s
factor = 3
intentos = 4
[reintentos sin_uso]
estrategia = fija
espera_inicial = 2s
[cliente diaguita]
to = https://diaguita.example.edu.ar/rest/
auth_tipo = digest
auth_usuario = pilaga
auth_password = secreto2
version = 1
[listener a]
cliente = diaguita
eventos = a.*
reintentos = corto
on_success = https://aviso.example.edu.ar/?clave=secreto3
on_failure = exec:/bin/true --si
reintentar_si = 429, 5xx, red
corte_pausa = 10s
limite = 100/s
[listener b]
url = https://b.example.edu.ar/
auth_tipo = api_key
auth_password = secreto4
auth_parametro = "cabecera:X-Clave"
[listener c]
url = https://c.example.edu.ar/
auth_tipo = oauth2
auth_url = https://c.example.edu.ar/token
auth_usuario = cliente
auth_password = secreto5
auth_alcance = leer
`

test('every setting that somebody wrote is shown with its value, and no secret is', () => {
  const rows = settingRows(folder({ 'resthooks.ini': INI }).load())
  const written = new Map(
    rows.filter(({ origen }) => origen !== 'por omisión').map(({ ajuste, valor }) => [ajuste, valor]),
  )
  expect([...written].filter(([, valor]) => valor === null)).toEqual([])
  expect(Object.fromEntries(written)).toMatchObject({
    'redis_config.port': '7000',
    'auditoria.retencion': '90d',
    'workers.arriendo': '45s',
    'reintentos.esperas': '5s, 5m',
    'reintentos corto.estrategia': 'exponencial',
    'reintentos corto.factor': '3',
    'reintentos corto.intentos': '4',
    'reintentos sin_uso.espera_inicial': '2s',
    'listener a.cliente': 'diaguita',
    'listener a.to': 'https://diaguita.example.edu.ar/rest/v1/',
    'listener a.reintentos': 'corto',
    'listener a.on_success': 'https://aviso.example.edu.ar/?***',
    'listener a.on_failure': 'exec:/bin/true --si',
    'listener a.reintentar_si': '429, 5xx, red',
    'listener a.corte_pausa': '10s',
    'listener a.auth_password': '***',
    'listener b.auth_parametro': 'cabecera:X-Clave',
    'listener c.auth_url': 'https://c.example.edu.ar/token',
    'listener c.auth_usuario': 'cliente',
    'listener c.auth_alcance': 'leer',
  })
  expect(JSON.stringify(rows)).not.toMatch(/secreto\d/)
})
