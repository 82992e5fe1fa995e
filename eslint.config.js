import tseslint from 'typescript-eslint';

const off = (...names) => Object.fromEntries(names.map((name) => [`@typescript-eslint/${name}`, 'off']));

// What biome does not know: rules that need types. Formatting and plain lint are biome's.
export default tseslint.config(
  { ignores: ['node_modules/', 'data/', 'coverage/', '.tmp/'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      // A port's method is async because another adapter waits, and so that what it throws is a rejection.
      ...off('require-await'),
      // Ports are objects of functions: they know no `this`.
      ...off('unbound-method'),
      // Unused code is for the compiler and knip to find.
      ...off('no-unused-vars'),
      // Matters of taste that we decided otherwise.
      ...off('no-confusing-void-expression', 'no-meaningless-void-operator', 'restrict-template-expressions'),
      ...off('no-unnecessary-type-parameters', 'no-generated-empty-object-type'),
    },
  },
  {
    // Tests look into what they were given as they like; promises they handle as carefully as any code.
    files: ['e2e/**', '**/*.test.ts', '**/*contract.ts', '**/testing*.ts'],
    rules: off(
      ...['no-unsafe-assignment', 'no-unsafe-argument', 'no-unsafe-member-access', 'no-unsafe-return', 'no-unsafe-call'],
      ...['only-throw-error', 'prefer-promise-reject-errors', 'use-unknown-in-catch-callback-variable', 'no-misused-spread'],
      ...['no-unnecessary-template-expression', 'no-useless-default-assignment', 'no-unnecessary-condition'],
      ...['no-unnecessary-type-assertion', 'await-thenable'],
    ),
  },
);
