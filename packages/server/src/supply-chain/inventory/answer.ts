import Type, { type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { COMPONENT_TYPES, type LayerInventory } from './model.ts';

const Path = Type.String({ maxLength: 8192 });
const Text = Type.String({ maxLength: 1024 });
const Paths = Type.Array(Path);
const Count = Type.Integer({ minimum: 0 });
const exact = <P extends Record<string, TSchema>>(properties: P) => Type.Object(properties, { additionalProperties: false });

const Component = exact({
  type: Type.Enum([...COMPONENT_TYPES]),
  name: Text,
  version: Text,
  arch: Type.Optional(Text),
  source: Type.Optional(exact({ name: Text, version: Text })),
  modularity: Type.Optional(Text),
  licences: Type.Array(Text, { maxItems: 100 }),
  symbols: Type.Optional(Type.Array(Text)),
  foundBy: Text,
});
const OsRelease = exact({
  path: Path,
  id: Text,
  versionId: Text,
  idLike: Type.Array(Text),
  prettyName: Text,
  codename: Type.Optional(Text),
  supportEnd: Type.Optional(Text),
});
const Limit = Type.Enum(['entries', 'bytes', 'ratio', 'nesting', 'time', 'components', 'memory']);
const Answer = Compile(
  exact({
    inventory: exact({
      digest: Text,
      diffId: Type.Optional(Text),
      evidence: Type.Array(exact({ path: Path, inside: Type.Optional(Path), components: Type.Array(Component) })),
      osReleases: Type.Array(OsRelease),
      licences: Type.Array(
        exact({ path: Path, type: Type.Enum([...COMPONENT_TYPES]), name: Text, licences: Type.Array(Text, { maxItems: 100 }) }),
      ),
      whiteouts: Paths,
      opaque: Paths,
      owned: Type.Array(exact({ by: Path, paths: Paths })),
      written: Paths,
      folders: Paths,
      links: Type.Array(exact({ path: Path, target: Path })),
      bytes: Count,
      entries: Count,
      incomplete: Type.Optional(
        Type.Union([
          exact({ reason: Type.Literal('limit'), limit: Limit }),
          exact({ reason: Type.Enum(['malformed', 'unscannable', 'failed']), detail: Text }),
        ]),
      ),
    }),
  }),
);

/** What a process that read hostile content says, if it is an inventory of that layer; it may have been taken over by what it read. */
export function readAnswer(text: string, digest: string): LayerInventory | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Answer.Check(answer)) return undefined;
  const { inventory } = answer as unknown as { inventory: LayerInventory };
  return inventory.digest === digest ? inventory : undefined;
}
