/** What people type, a few lines a command: shown at the end of its help and in the manual. A test sees that their options exist. */
export const EXAMPLES: Readonly<Record<string, readonly (readonly [line: string, means: string])[]>> = {
  iniciar: [
    ['resthooks iniciar -p pilaga', 'Hace las primeras preguntas y escribe los archivos'],
    [
      `resthooks iniciar -p pilaga --si --listener https://compras.example.edu.ar/rest/ --eventos 'proveedor.*'`,
      'Sin preguntar',
    ],
  ],
  'crear-base': [
    ['resthooks crear-base -p pilaga', 'Crea o actualiza el esquema de auditoría'],
    ['resthooks crear-base --mostrar-sql > auditoria.sql', 'El SQL, para que lo ejecute quien administra la base'],
  ],
  'iniciar-workers': [
    ['resthooks iniciar-workers -p pilaga', 'Entrega hasta que lo detengan'],
    ['resthooks iniciar-workers --una-vez', 'Entrega lo que haya y termina, para cron'],
  ],
  send: [
    [`resthooks send proveedor.alta '{"id":7}'`, 'Encola un mensaje e imprime su id'],
    ['resthooks send proveedor.alta @alta.json --clave alta-7', 'De un archivo, y una sola vez aunque se repita'],
    ['resthooks send pago.emitido - --esperar 30s < pago.json', 'Espera el resultado de todas las entregas'],
    ['tail -f eventos.jsonl | resthooks send --lote', 'Un mensaje por línea'],
  ],
  estado: [
    ['resthooks estado', 'Qué anda mal, desde cuándo y qué hacer'],
    ['resthooks estado --vigilar', 'Lo mismo, siempre al día'],
    ['resthooks estado --comprobar --umbral-edad 5m,15m --umbral-fallidas 1,10', 'Para un sistema de monitoreo'],
  ],
  auditoria: [
    ['resthooks auditoria --estado fallida --desde ayer', 'Lo que falló desde ayer'],
    ['resthooks auditoria --listener mapuche --limite 20', 'Las últimas 20 entregas de un listener'],
    [`resthooks auditoria --buscar '"proveedor":7' --desde ayer --hasta ayer`, 'Qué pasó ayer con el proveedor 7'],
    ['resthooks auditoria --contar error --listener mapuche --desde 7d', 'Con qué falla, cuánto y desde cuándo'],
    [
      'resthooks auditoria --estado fallida --limite 100000 --formato csv > fallidas.csv',
      'Para una planilla de cálculo',
    ],
  ],
  ver: [
    ['resthooks ver 01M8BSYY317RCX9E4FH99V2VBT', 'Cómo está un mensaje, por qué espera y qué le pasó'],
    ['resthooks ver 01M8BSYY317RCX9E4FH99V2VBT --cuerpo > pago.json', 'Su cuerpo, byte por byte'],
    [
      'resthooks ver 01M8BSYY317RCX9E4FH99V2VBT --evidencia mapuche > evidencia.txt',
      'Lo enviado y lo contestado, para firmar',
    ],
  ],
  pausar: [
    ['resthooks pausar mapuche --hasta 08:30', 'Retiene sus entregas hasta esa hora'],
    ['resthooks pausar --todos --hasta 2h', 'Todos, durante un mantenimiento'],
  ],
  reanudar: [
    ['resthooks reanudar mapuche', 'Suelta lo retenido'],
    ['resthooks reanudar --todos --tambien-sin-fin', 'También los que alguien pausó sin fin'],
  ],
  probar: [
    [`resthooks probar mapuche '{"id":7}'`, 'Un pedido con esos datos'],
    ['resthooks probar mapuche --mensaje 01M8BSYY317RCX9E4FH99V2VBT', 'El pedido que haría ese mensaje'],
  ],
  simular: [
    ['resthooks simular mapuche', 'Cuándo se reintentaría una entrega que falla ahora'],
    ['resthooks simular mapuche --desde 08:30 --limite 5', 'Los primeros cinco intentos desde esa hora'],
  ],
  verificar: [
    ['resthooks verificar -p pilaga', 'Todo lo que se puede comprobar sin enviar nada'],
    ['resthooks verificar --configuracion', 'Los archivos y nada más'],
  ],
  reenviar: [
    ['resthooks reenviar 01M8BSYY317RCX9E4FH99V2VBT --listener mapuche', 'Una entrega, otra vez'],
    ['resthooks reenviar --fallidas --desde ayer --simulacro', 'Cuáles serían, sin hacerlo'],
    ['resthooks reenviar --ahora --listener mapuche', 'Ya anda: no espera a los reintentos'],
    ['resthooks reenviar --faltantes --listener nuevo --desde 30d', 'A un listener nuevo, lo del último mes'],
  ],
  descartar: [
    ['resthooks descartar 01M8BSYY317RCX9E4FH99V2VBT --listener viejo', 'Desiste de una entrega'],
    ['resthooks descartar --listener viejo --estado pendiente,reintentando --simulacro', 'Cuáles serían, sin hacerlo'],
  ],
  entradas: [
    ['resthooks entradas', 'Cuánto quedó aparte, de cada tipo'],
    ['resthooks entradas --tipo invalidas --exportar > invalidas.jsonl', 'Entero, para revisarlo'],
    ['resthooks entradas --tipo callbacks --todas --devolver', 'Los avisos abandonados, otra vez'],
  ],
  salud: [['resthooks salud', 'Si el worker de esta máquina está bien, para un contenedor']],
  purgar: [['resthooks purgar --antes-de 365d --simulacro', 'Cuánto se borraría']],
  recuperar: [['resthooks recuperar --simulacro', 'Qué falta en Redis de lo que Postgres dice que se debe']],
  panel: [
    ['resthooks panel', 'La página, en http://127.0.0.1:8580; imprime cómo entrar'],
    ['resthooks panel --clave', 'La clave de un [usuario NOMBRE] de resthooks.ini'],
    ['resthooks panel --prefijo /resthooks', 'Detrás de nginx o Apache'],
  ],
  completar: [
    ['resthooks completar bash > /etc/bash_completion.d/resthooks', 'Para todos, en bash'],
    ['resthooks completar zsh > ~/.zfunc/_resthooks', 'En zsh, con ~/.zfunc en $fpath'],
    ['resthooks completar fish > ~/.config/fish/completions/resthooks.fish', 'En fish'],
  ],
  ayuda: [
    ['resthooks ayuda auditoria', 'La ayuda de un comando'],
    ['resthooks ayuda --man | man -l -', 'El manual entero'],
  ],
}

/** The end of a command's help; empty where it has none. */
export function examplesText(command: string): string {
  const examples = EXAMPLES[command] ?? []
  if (examples.length === 0) return ''
  return [
    '',
    `Ejemplo${examples.length > 1 ? 's' : ''}:`,
    ...examples.map(([line, means]) => `  ${means}:\n    ${line}`),
  ].join('\n')
}
