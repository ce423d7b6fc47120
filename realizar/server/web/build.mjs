// Builds the page into a folder: `node build.mjs dist`. The same sources and lock give the same bytes.
import { build } from "esbuild";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(fileURLToPath(import.meta.url));
const outdir = process.argv[2];
if (!outdir) {
  console.error("usage: node build.mjs FOLDER");
  process.exit(2);
}

// Every browser that the page supports reads woff2; KaTeX's style sheet also names two older formats.
const woff2Only = {
  name: "woff2-only",
  setup(setup) {
    setup.onLoad({ filter: /katex\.css$/ }, async ({ path }) => ({
      contents: (await readFile(path, "utf8")).replace(/,\s*url\([^)]*\.(?:woff|ttf)\)\s*format\("[a-z]+"\)/g, ""),
      loader: "css",
    }));
  },
};

await rm(outdir, { recursive: true, force: true });
await mkdir(outdir, { recursive: true });
const result = await build({
  absWorkingDir: root,
  entryPoints: ["src/app.tsx", "src/app.css", "src/icon.svg"],
  outdir,
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome123", "firefox121", "safari17.5"],
  loader: { ".woff2": "file", ".svg": "copy" },
  legalComments: "none", // the licences are in LICENSES.txt
  metafile: true,
  plugins: [woff2Only],
});
await writePage(Object.keys(result.metafile.outputs).map(path => basename(path)));
await writeLicenses(Object.keys(result.metafile.inputs));

// index.html with the hashed names of what it loads.
async function writePage(names) {
  const page = await readFile(join(root, "src/index.html"), "utf8");
  const filled = page.replace(/\bweb\/(\w+)\.(\w+)/g, (_, stem, suffix) => {
    const name = names.find(name => name.startsWith(`${stem}-`) && name.endsWith(`.${suffix}`));
    if (!name) throw new Error(`index.html loads ${stem}.${suffix}, which is not built`);
    return `web/${name}`;
  });
  await writeFile(join(outdir, "index.html"), filled);
}

// The licences of the packages whose code is in the build.
async function writeLicenses(inputs) {
  const packages = new Set(inputs.map(path => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean));
  const texts = [];
  for (const name of [...packages].sort()) {
    const folder = join(root, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).sort().find(file => /^licen[cs]e/i.test(file));
    if (!file) throw new Error(`${relative(root, folder)} has no licence`);
    texts.push(`${name} ${version} (${license})\n\n${(await readFile(join(folder, file), "utf8")).trim()}\n`);
  }
  await writeFile(join(outdir, "LICENSES.txt"), texts.join(`\n${"-".repeat(80)}\n\n`));
}
