import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';

type Options = Record<string, string>;

/** Commands that work on the data directory itself, for whoever may write there: no login, the server may run. */
export function registerAdmin(program: Command): void {
  const admin = program.command('admin').description('manage users and projects of a data directory');
  const user = admin.command('user').description('manage users');
  const project = admin.command('project').description('manage projects');

  withConfig(admin.command('password').description('manage passwords').command('reset'))
    .argument('[user]', 'whose password', 'admin')
    .description('give a user a new random password, print it once, and end all sessions and tokens of before')
    .action(async (name: string, options: Options) => {
      const { resetPassword } = await import('@entrepot/server/admin');
      console.log(await resetPassword(configOf(options), name));
    });
  withConfig(user.command('create'))
    .argument('<name>')
    .description('make a user with a random password and print it once')
    .action(async (name: string, options: Options) => {
      const { addUser } = await import('@entrepot/server/admin');
      console.log(await addUser(configOf(options), name));
    });
  for (const [verb, disabled] of [
    ['disable', true],
    ['enable', false],
  ] as const) {
    withConfig(user.command(verb))
      .argument('<name>')
      .description(`${verb} a user; ends all sessions and tokens of before`)
      .action(async (name: string, options: Options) => {
        const { disableUser } = await import('@entrepot/server/admin');
        await disableUser(configOf(options), name, disabled);
      });
  }
  withConfig(project.command('create'))
    .argument('<name>')
    .option('--public', 'anybody may pull, without login')
    .description('make a project')
    .action(async (name: string, { public: isPublic, ...options }: Options & { public?: boolean }) => {
      const { addProject } = await import('@entrepot/server/admin');
      await addProject(configOf(options), name, Boolean(isPublic));
    });
  withConfig(project.command('visibility'))
    .argument('<name>')
    .argument('<public|private>')
    .description('let anybody pull without login, or only members')
    .action(async (name: string, visibility: string, options: Options) => {
      const { setVisibility } = await import('@entrepot/server/admin');
      await setVisibility(configOf(options), name, visibility);
    });
  withConfig(project.command('member'))
    .argument('<project>')
    .argument('<user>')
    .argument('<role>', 'guest (pull), developer (push), maintainer or admin (delete)')
    .description('give a user a role in a project')
    .action(async (name: string, member: string, role: string, options: Options) => {
      const { setProjectMember } = await import('@entrepot/server/admin');
      await setProjectMember(configOf(options), name, member, role);
    });
}
