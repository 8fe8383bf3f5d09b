// Gives the loader that `napi build` has just generated (index.js) an error that says what to do when there is no binary
// to load. The generated one knows neither which package should be there nor any cause but npm's.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./programs.js";

const GENERATED =
	/const error = new Error\(\n\s+`Cannot find native binding\. `[^)]+\(https:\/\/github\.com\/npm\/cli\/issues\/4828\)[^)]+\n\s+\)/;

const { name, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const platforms = readdirSync(join(root, "npm")).sort();
const file = join(root, "index.js");
const loader = readFileSync(file, "utf8");
if (!GENERATED.test(loader))
	throw new Error("index.js has another error than this script knows: did @napi-rs/cli change?");

// A function, because "$" has a meaning in a replacing text.
const withError = loader.replace(GENERATED, () => "const error = new Error(describeMissingBinary(loadErrors))");
writeFileSync(file, `${withError}\n${describing()}`);

function describing() {
	return `// Added by scripts/loader.js.
function describeMissingBinary(errors) {
  const { platform, arch } = process
  const abi = platform === 'linux' ? (isMusl() ? '-musl' : '-gnu') : platform === 'win32' ? '-msvc' : ''
  const tuple = platform + '-' + arch + abi
  const platforms = ${JSON.stringify(platforms).replaceAll('"', "'").replaceAll(",", ", ")}
  if (!platforms.includes(tuple)) {
    return '${name}: there is no binary for ' + tuple + '. There are binaries for ' + platforms.join(', ') + '.'
  }
  const binary = '${name}-' + tuple
  const refusal = errors.find((error) => error && error.code && error.code !== 'MODULE_NOT_FOUND')
  if (refusal) {
    return '${name}: the binary for ' + tuple + ' is there and cannot be loaded: ' + refusal.message
  }
  return (
    '${name}: the package ' + binary + ' ${version}, its binary for this machine, cannot be found. ' +
    'It is an optional dependency: install with optional dependencies (without --omit=optional or --no-optional), on the ' +
    'system on which it is to run, and not from a lock file that was made without it; or add it by its name. ' +
    'A bundler must leave ${name} alone: in Next.js, name it in serverExternalPackages of next.config.'
  )
}
`;
}
