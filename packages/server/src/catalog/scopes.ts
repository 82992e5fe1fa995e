/** Names of what changes read and write, for `scope` of `database.write`. */

/** Links, manifests and tags of a repository, by its full name, and its making. */
export function repositoryScope(name: string): string {
  return `repository:${name}`;
}

/** The session of an upload, and whether it has ended. */
export function uploadScope(id: string): string {
  return `upload:${id}`;
}

/** Whether the bytes of a blob are in the store, and who has a link to them. */
export function blobScope(digest: string): string {
  return `blob:${digest}`;
}
