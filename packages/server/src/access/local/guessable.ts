/** What the lists of leaked passwords are made of, besides runs and repetitions; longer before shorter where one holds the other. */
const COMMON = `
  administrator administrador administrateur passwords password passwort passphrase passw0rd passwd motdepasse contrasena senha pass
  letmein trustno welcome bienvenue willkommen changeme change default secret geheim master monkey dragon shadow sunshine princess
  football baseball basketball soccer hockey superman batman starwars pokemon naruto killer hunter ranger jordan michael jennifer
  michelle jessica charlie thomas andrew daniel ashley nicole robert matthew jonathan joshua george amanda samantha maggie buster
  tigger ginger pepper cookie cheese banana orange purple yellow flower butterfly summer winter spring autumn january february
  march april june july august september october november december monday friday sunday iloveyou iloveu loveme lovely love hello
  whatever freedom forever fuckyou access computer internet server system network database oracle mysql postgres tomcat jenkins
  docker registry harbor container kubernetes entrepot openshift rancher gitlab github ubuntu debian centos redhat linux windows
  microsoft google apple samsung facebook cisco company corporate enterprise production staging testing tester test guest admin
  root user login demo temp sample example qazwsx qwertz azerty asdf zxcv mustang corvette porsche ferrari mercedes yankees
  cowboys liverpool chelsea arsenal barcelona london paris berlin america canada germany france china india
`
  .trim()
  .split(/\s+/)
  .sort((a, b) => b.length - a.length);

const ROWS = ['abcdefghijklmnopqrstuvwxyz', '01234567890', 'qwertyuiop', 'asdfghjkl', 'zxcvbnm', 'qwertzuiop', 'yxcvbnm', 'azertyuiop'];
const LEET: Readonly<Record<string, string>> = { '0': 'o', '1': 'i', '3': 'e', '4': 'a', '5': 's', '7': 't', '@': 'a', $: 's', '!': 'i' };
/** Shortest run of neighbours that counts as one. */
const RUN = 3;
/** How many different characters may be left of a password once all that is guessable is taken out, to be guessable as a whole. */
const LEFT = 4;

/**
 * Whether little is left of a password without common words, words about its user, years, runs such as 1234 and qwerty, and
 * repetitions. Letters written as digits and signs count as the letters.
 */
export function isGuessable(password: string, personal: readonly string[]): boolean {
  const lower = password.toLowerCase();
  const read = Array.from(lower, (letter) => LEET[letter] ?? letter).join('');
  const words = [...personal.map((word) => word.toLowerCase()), ...COMMON];
  return [lower, read].some((text) => {
    const rest = withoutRuns(withoutWords(text, words).replace(/(?:19|20)\d\d/g, '\0'));
    const left = rest.replaceAll('\0', '');
    return new Set(left).size <= LEFT;
  });
}

/** Text with what is taken out marked, so that its neighbours do not become one word. */
function withoutWords(text: string, words: readonly string[]): string {
  let rest = text;
  for (const word of words) {
    rest = rest.replaceAll(word, '\0');
    rest = rest.replaceAll(Array.from(word).reverse().join(''), '\0');
  }
  return rest;
}

function withoutRuns(text: string): string {
  let rest = '';
  for (let at = 0; at < text.length; ) {
    const length = Math.max(...[repeats(text, at), ...ROWS.map((row) => runOf(text, at, row))]);
    rest += length >= RUN ? '\0' : text.slice(at, at + 1);
    at += length >= RUN ? length : 1;
  }
  return rest;
}

/** How long the same character goes on. */
function repeats(text: string, at: number): number {
  let end = at;
  while (end < text.length && text[end] === text[at]) end++;
  return end - at;
}

/** How far text follows a row of neighbours, forwards or backwards. */
function runOf(text: string, at: number, row: string): number {
  let longest = 0;
  for (const step of [1, -1]) {
    let place = row.indexOf(text.charAt(at));
    let end = at;
    while (place >= 0 && end < text.length && row[place] === text[end]) {
      end++;
      place += step;
    }
    longest = Math.max(longest, end - at);
  }
  return longest;
}
