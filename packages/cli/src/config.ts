import { shownConfig } from '@entrepot/server/config';
import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';

export function registerConfig(program: Command): void {
  const config = program.command('config').description('look at the configuration');
  withConfig(config.command('print'))
    .description('print the configuration in force, as YAML; secrets are left out')
    .action(async (options: Record<string, string>) => {
      const { stringify } = await import('yaml');
      process.stdout.write(stringify(shownConfig(configOf(options))));
    });
  withConfig(config.command('check'))
    .description('say all that is wrong with the configuration, or nothing')
    .action((options: Record<string, string>) => {
      configOf(options);
      console.log('the configuration is valid');
    });
}
