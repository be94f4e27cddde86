/** What a purchasing system tells its neighbours on an ordinary morning. Invented people and numbers. */

export const SUPPLIER = {
  id: 1041,
  cuit: '30-71234567-8',
  razon_social: 'Librería del Litoral S.R.L.',
  condicion_iva: 'Responsable inscripto',
  domicilio: { calle: 'Bv. Gálvez 1480', localidad: 'Santa Fe', codigo_postal: 'S3000AAB' },
  cbu: '0110599520000012345678',
}

export const PURCHASE = {
  id: 88213,
  expediente: 'EXP-2026-004417',
  proveedor_id: 1041,
  estado: 'autorizada',
  moneda: 'ARS',
  total: '1284500.50',
  renglones: [
    { codigo: 'PAP-A4-75', detalle: 'Resma A4 75 g', cantidad: 120, precio: '6850.00' },
    { codigo: 'TON-05X', detalle: 'Tóner negro', cantidad: 6, precio: '77083.4166' },
  ],
}

/** One message a line, as `send --lote` reads them. */
export const BATCH = [
  ['proveedor.alta', { id: 1042, cuit: '27-28456789-3', razon_social: 'Núñez, María Inés' }],
  ['proveedor.modificacion', { id: 987, cbu: '0720461288000035123456' }],
  ['compra.alta', { id: 88214, proveedor_id: 1042, total: '96400.00' }],
  ['compra.alta', { id: 88215, proveedor_id: 987, total: '2310000.00' }],
  ['compra.autorizada', { id: 88190, expediente: 'EXP-2026-004398', total: '450000.00' }],
  ['proveedor.baja', { id: 512, motivo: 'Cese de actividades' }],
  ['compra.recibida', { id: 88102, remito: '0003-00018842', fecha: '2026-11-24' }],
  ['compra.anulada', { id: 88077, motivo: 'Precio vencido' }],
]
  .map(([evento, datos]) => JSON.stringify({ evento, datos }))
  .join('\n')

/** A busy morning, for the page: invented, too. */
export const BODIES: readonly ((n: number) => { readonly evento: string; readonly datos: object })[] = [
  (n) => ({
    evento: 'proveedor.alta',
    datos: { id: 2000 + n, cuit: `30-7${1_000_000 + n}-8`, razon_social: 'Núñez e Hijos S.A.' },
  }),
  (n) => ({
    evento: 'compra.alta',
    datos: { id: 89_000 + n, proveedor_id: 7, total: '96400.00', expediente: `EXP-${n}/2026` },
  }),
  (n) => ({
    evento: 'pago.emitido',
    datos: { id: n, proveedor_id: 2000 + n, total: '1284500.50', cbu: '0110599520000012345678' },
  }),
  (n) => ({ evento: 'legajo.alta', datos: { legajo: 90_000 + n, apellido: 'Quispe', nombres: 'Ana María' } }),
  (n) => ({
    evento: 'expediente.pase',
    datos: { expediente: `EXP-${159_000 + n}/2026`, de: 'Mesa de Entradas', a: 'Rectorado' },
  }),
]
