import { ConfigSchema, flagOf, variableOf } from './config.ts';

interface OptionSchema {
  readonly type: string;
  readonly default: unknown;
  readonly description: string;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}

const INTRODUCTION = `# Configuration

<!-- Made from the schema in packages/server/src/platform/config.ts; npx vitest run config-reference -u writes it anew. -->

Each option can be given in a YAML file (\`--config FILE\` or \`ENTREPOT_CONFIG\`), as a variable, and on the command line; of
several, the later of these three counts. \`entrepot config check\` says all that is wrong at once, \`entrepot config print\`
shows what is in force.

| in the file | variable | command line | default | allowed | meaning |
|---|---|---|---|---|---|
`;

const REST = `
## Variables that are no option

| variable | meaning |
|---|---|
| \`ENTREPOT_CONFIG\` | the YAML file, where \`--config\` is not given |
| \`ENTREPOT_ADMIN_PASSWORD\` | password of the admin that the first start makes; without it, one is made up and printed |

## A file

\`\`\`yaml
listen: 0.0.0.0:5000
dataDir: /var/lib/entrepot
publicUrl: https://registry.example.com
trustedProxies: 10.0.0.0/8
workers: auto
\`\`\`
`;

/** The configuration reference, docs/reference/configuration.md. */
export function configReference(): string {
  const rows = Object.entries(ConfigSchema.properties).map(([key, property]) => {
    const schema = property as unknown as OptionSchema;
    const shown = schema.default === '' ? 'empty' : `\`${schema.default}\``;
    const cells = [`\`${key}\``, `\`${variableOf(key)}\``, `\`${flagOf(key)}\``, shown, allowed(schema), schema.description];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return `${INTRODUCTION}${rows.join('\n')}\n${REST}`;
}

function allowed({ type, minimum, maximum, pattern }: OptionSchema): string {
  if (type === 'boolean') return '`true`, `false`';
  if (type === 'integer') return `${minimum} to ${maximum}`;
  const words = /^\^\(([a-z0-9|]+)\)\$$/.exec(pattern ?? '')?.[1];
  return words === undefined
    ? 'text, see meaning'
    : words
        .split('|')
        .map((word) => `\`${word}\``)
        .join(', ');
}
