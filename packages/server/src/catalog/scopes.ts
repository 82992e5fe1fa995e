/** Names of what changes read and write, for `scope` of `database.write`. */

/** Links, manifests and tags of a repository, by its full name, and its making. */
export function repositoryScope(name: string): string {
  return `repository:${name}`;
}

/** Whether the bytes of a blob are in the store, and who has a link to them. */
export function blobScope(digest: string): string {
  return `blob:${digest}`;
}
