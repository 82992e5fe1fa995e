import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';

export function registerServe(program: Command): void {
  withConfig(program.command('serve'))
    .description('run the registry')
    .action(async (options: Record<string, string>) => {
      const config = configOf(options);
      const { serve } = await import('@entrepot/server');
      const adminPassword = process.env.ENTREPOT_ADMIN_PASSWORD;
      delete process.env.ENTREPOT_ADMIN_PASSWORD;
      const server = await serve(config, adminPassword);
      const stop = () => {
        void server.stop().then(() => process.exit(0));
      };
      // Before anybody reads that it is ready and may ask it to end.
      for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, stop);
      const address = config.publicUrl === '' ? config.listen.replace(/:[0-9]+$/, `:${server.port}`) : new URL(config.publicUrl).host;
      console.log(greeting(address, server.newPassword, server.firstStart));
    });
}

function greeting(address: string, password: string | undefined, firstStart: boolean): string {
  const lines = [`Entrepot is ready at http://${address}  (${Math.round(performance.now())} ms)`];
  if (firstStart) {
    lines.push('', `  user      admin`, `  password  ${password ?? 'as given in ENTREPOT_ADMIN_PASSWORD'}`);
    if (password) lines.push('  It is shown this once; entrepot admin password reset makes a new one.');
    lines.push(
      '',
      `  skopeo login --tls-verify=false -u admin ${address}`,
      `  skopeo copy --dest-tls-verify=false docker-archive:image.tar docker://${address}/demo/image:1`,
      `  skopeo copy --src-tls-verify=false docker://${address}/demo/image:1 oci:image:1`,
    );
  }
  return lines.join('\n');
}
