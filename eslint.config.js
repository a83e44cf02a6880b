import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

export default defineConfig(
  globalIgnores(['dist/', 'dist.*/', 'coverage/', 'test/compatibility/release-*/']),
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      'no-console': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],

      // A new member of a union fails every switch that names its members; a `default` is written where that is meant.
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],

      // The reason of an aborted signal is thrown as it is, and it is `any`.
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingAny: true, allowThrowingUnknown: true }],
      '@typescript-eslint/prefer-promise-reject-errors': [
        'error',
        { allowThrowingAny: true, allowThrowingUnknown: true },
      ],

      // An actor that awaits nothing is still `async`, because its contract is.
      '@typescript-eslint/require-await': 'off',
      // Callers in plain JavaScript and newer peers send what the types exclude, so guards against it stay.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // `bytes[at]!` after a check of the length is how a codec reads.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // A generator that returns nothing has `void` in its type.
      '@typescript-eslint/no-invalid-void-type': 'off',
      // `() => socket.close()` says what it does; braces around it say no more. So does an early `return refuse()`.
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
    },
  },
  {
    // The core is handed its clock, timers and chance, so that a simulation can run it with its own.
    files: [
      'server/{log,runs,sessions,connections,http,inspector,agents,tools,workflows,teams}/**',
      'formats/**',
      'adapters/**',
      'compat/**',
      'client-sdk/!(node|runtime).ts',
    ],
    rules: {
      'no-restricted-globals': [
        'error',
        ...takenFromRuntime(['setTimeout', 'setInterval', 'setImmediate', 'performance', 'crypto']),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'Take it from the Runtime.' },
        { object: 'Math', property: 'random', message: 'Take it from the Runtime.' },
      ],
    },
  },
  {
    // What an adapter cannot tell apart, it says to the developer, in the console of the page.
    files: ['adapters/**'],
    rules: { 'no-console': ['error', { allow: ['warn'] }] },
  },
  {
    files: ['test/**', 'scripts/**', 'examples/**', 'bench/**', 'server/cli/**'],
    rules: { 'no-console': 'off' },
  },
  {
    files: ['test/**'],
    rules: {
      // `expect.any(Number)` is `any`, and it is meant to stand where a value does.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
)

function takenFromRuntime(names) {
  return names.map((name) => ({ name, message: 'Take it from the Runtime.' }))
}
