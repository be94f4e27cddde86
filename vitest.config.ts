import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import manifest from './package.json' with { type: 'json' }

// nginx, Apache and Postgres read, as users of their own, what the tests write: whatever the umask of who runs them.
process.umask(0o022)

/** The files that take longest, and the order in which they begin: at the end no core waits for the last one. */
const LONGEST = [
  'chaos/short',
  'e2e/exit-codes',
  'e2e/packaging',
  'e2e/callbacks',
  'e2e/fairness',
  'panel/browser',
  'commands/reenviar',
  'commands/recuperar',
  'e2e/workers',
  'audit/trouble',
  'e2e/supervisord',
  'e2e/encodings',
  'e2e/reload',
  'e2e/send',
  'e2e/readme',
  'e2e/node-versions',
  'demo/demo',
  'audit/migrate',
  'e2e/upgrade',
  'worker/status-server',
  'commands/auditoria',
  'panel/actions',
  'e2e/delivery',
  'e2e/package',
  'e2e/recipes',
  'audit/postgres',
  'commands/ver',
  'commands/estado',
  'commands/crear-base',
  'panel/access',
]

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONGEST.findIndex((name) => moduleId.endsWith(`test/${name}.test.ts`))
      return at < 0 ? LONGEST.length : at
    }
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b))
  }
}

export default defineConfig({
  define: { __VERSION__: JSON.stringify(manifest.version), __COMMIT__: '""' },
  plugins: [
    {
      name: 'lua-as-text',
      transform: (code, id) => (id.endsWith('.lua') ? `export default ${JSON.stringify(code)}` : undefined),
    },
  ],
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // Room for a machine with more to do than its cores: a test that hangs fails all the same.
    testTimeout: 120_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // A process for each file costs a second of its own, for a minute in all. So: whatever a test changes of the process or
    // of a module (environment, folder, mocks) it puts back.
    isolate: false,
    // One more than the cores of a small machine: many tests wait for a delay or for a program to start.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
  },
})
