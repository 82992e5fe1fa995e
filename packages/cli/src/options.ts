import { type Config, ConfigSchema, flagOf, loadConfig, variableOf } from '@entrepot/server/config';
import { type Command, Option } from 'commander';

const VALUES: Record<string, string> = { dataDir: '<dir>', storageDir: '<dir>', listen: '<host:port>' };

/** Adds `--config` and one option for each key of the configuration. */
export function withConfig(command: Command): Command {
  command.addOption(new Option('--config <file>', 'YAML file with options').env('ENTREPOT_CONFIG'));
  for (const [key, schema] of Object.entries(ConfigSchema.properties)) {
    const { description, default: value } = schema as { description?: string; default?: unknown };
    command.option(`${flagOf(key)} ${VALUES[key] ?? '<value>'}`, `${description} (default ${JSON.stringify(value)}, ${variableOf(key)})`);
  }
  return command;
}

/** Reads the configuration of a command made by `withConfig`; throws ConfigError. */
export function configOf(options: Record<string, string | undefined>): Config {
  const { config: file, data, ...flags } = options;
  return loadConfig({ file, env: process.env, flags: { ...flags, ...(data === undefined ? {} : { dataDir: data }) } });
}
