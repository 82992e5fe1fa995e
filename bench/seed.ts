import { createHash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { parseArgs } from 'node:util';

const USAGE = `node bench/seed.ts DATABASE [options]
  Fills the database of a new registry with names, as a large company has them; there are no blobs behind them. The server
  must have made the database, and be stopped.
  --projects N      default 1000
  --users N         default 10000
  --tags N          over all repositories, default 1000000`;

export interface SeedCounts {
  readonly projects: number;
  readonly users: number;
  readonly tags: number;
}

/** Repositories of each project, and tags of the largest repository, which holds a tenth of all. */
const REPOSITORIES = 10;
const LARGEST_SHARE = 10;
const GROUPS = 100;
const HISTORY_OF_LARGEST = 100_000;
const BATCH = 50_000;
const NOW = Date.UTC(2026, 0, 1);

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;

/** Fills a database; deterministic, so that two runs can be compared. */
export function seed(path: string, { projects, users, tags }: SeedCounts): void {
  const database = new DatabaseSync(path);
  database.exec('PRAGMA synchronous=OFF; PRAGMA cache_size=-200000');
  const insert = (table: string, columns: readonly string[]) => {
    const marks = columns.map(() => '?').join(', ');
    return database.prepare(`INSERT INTO "${table}" (${columns.join(', ')}) VALUES (${marks})`);
  };
  let open = 0;
  const counted = () => {
    if (open++ % BATCH !== 0) return;
    if (open > 1) database.exec('COMMIT');
    database.exec('BEGIN');
  };

  const user = insert('user', ['name', 'password_hash', 'disabled', 'generation', 'created_at', 'email', 'full_name']);
  const userIds = Array.from({ length: users }, (_, at) => {
    counted();
    const name = `user-${String(at).padStart(5, '0')}`;
    return Number(user.run(name, '', 0, 1, NOW + at, `${name}@example.com`, `User Number ${at}`).lastInsertRowid);
  });
  const group = insert('user_group', ['name', 'description', 'created_at', 'version']);
  const groupMember = insert('group_member', ['group_id', 'user_id', 'source']);
  for (let at = 0; at < GROUPS; at++) {
    counted();
    const id = Number(group.run(`group-${String(at).padStart(3, '0')}`, '', NOW, 1).lastInsertRowid);
    for (let member = at; member < users; member += GROUPS) groupMember.run(id, userIds[member] ?? 0, 'local');
  }

  const project = insert('project', ['name', 'public', 'created_at', 'created_by', 'environment']);
  const repository = insert('repository', ['project_id', 'name', 'created_at']);
  const change = insert('repository_change', ['repository_id', 'project_id', 'updated_at']);
  const assignment = insert('role_assignment', ['subject_kind', 'subject_id', 'role', 'project_id', 'created_at', 'created_by']);
  const manifest = insert('manifest', ['repository_id', 'digest', 'media_type', 'size', 'created_at', 'created_by']);
  const tag = insert('tag', ['repository_id', 'name', 'digest', 'updated_at', 'updated_by']);
  const history = insert('tag_history', ['repository_id', 'name', 'digest', 'previous_digest', 'changed_at', 'changed_by']);
  const environments = ['development', 'test', 'production'];
  const roles = ['guest', 'developer', 'maintainer', 'admin'];
  const largest = Math.floor(tags / LARGEST_SHARE);
  const others = Math.floor((tags - largest) / (projects * REPOSITORIES - 1));
  for (let at = 0; at < projects; at++) {
    const name = `project-${String(at).padStart(4, '0')}`;
    const projectId = Number(project.run(name, at % 10 === 0 ? 1 : 0, NOW + at, 'seed', environments[at % 3] ?? '').lastInsertRowid);
    for (let member = 0; member < 20; member++) {
      counted();
      assignment.run('user', userIds[(at * 20 + member) % users] ?? 0, roles[member % 4] ?? '', projectId, NOW, 'seed');
    }
    for (let number = 0; number < REPOSITORIES; number++) {
      const repositoryId = Number(repository.run(projectId, `${name}/app-${number}`, NOW + number).lastInsertRowid);
      change.run(repositoryId, projectId, NOW + number);
      const count = at === 0 && number === 0 ? largest : others;
      for (let version = 0; version < count; version++) {
        counted();
        const digest = digestOf(`${name}/${number}:${version}`);
        const time = NOW + version * 1000;
        const text = `v${String(version).padStart(6, '0')}`;
        manifest.run(repositoryId, digest, 'application/vnd.oci.image.manifest.v1+json', 1000 + (version % 500), time, 'seed');
        tag.run(repositoryId, text, digest, time, 'seed');
        history.run(repositoryId, text, digest, null, time, 'seed');
      }
      if (at !== 0 || number !== 0) continue;
      for (let move = 0; move < HISTORY_OF_LARGEST; move++) {
        counted();
        history.run(repositoryId, 'latest', digestOf(`latest ${move + 1}`), digestOf(`latest ${move}`), NOW + move, 'seed');
      }
    }
  }
  database.exec('COMMIT');
  database.exec('ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)');
  database.close();
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      projects: { type: 'string', default: '1000' },
      users: { type: 'string', default: '10000' },
      tags: { type: 'string', default: '1000000' },
    },
  });
  const [path] = positionals;
  if (path === undefined) {
    console.log(USAGE);
    process.exit(2);
  }
  seed(path, { projects: Number(values.projects), users: Number(values.users), tags: Number(values.tags) });
}
