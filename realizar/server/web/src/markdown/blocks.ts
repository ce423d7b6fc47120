// Markdown to safe nodes: marked makes HTML of each block, and DOMPurify keeps of it what is on the lists here.
import DOMPurify, { type Config } from "dompurify";
import { Marked, type Token, type TokenizerAndRendererExtension, type TokensList } from "marked";

const TAGS =
  "a b blockquote br caption code dd del details dl dt em h1 h2 h3 h4 h5 h6 hr i input ins kbd li mark ol p pre q s " +
  "samp small span strong sub summary sup table tbody td tfoot th thead tr u ul var";
const ATTRIBUTES = "align checked class colspan href open rowspan start type";
const PURIFY: Config & { RETURN_DOM_FRAGMENT: true } = {
  ALLOWED_TAGS: [...TAGS.split(" "), "#text"],
  ALLOWED_ATTR: ATTRIBUTES.split(" "),
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** A block of a text. */
export interface Block {
  /** All that it is made of: with the same source it has the same nodes. */
  source: string;
  token: Token;
}

/** A last line that may become any kind of block with its next character. */
const OPEN_LINE = /(^|\n)[ \t]*(?:[-=*_`#>|~+$]+|\d+[.)])[ \t]*$/;

const marked = new Marked({
  gfm: true,
  breaks: true,
  extensions: [...math("block"), ...math("inline")],
  renderer: {
    // An image becomes a link: what a model writes must not make the browser ask another server for anything.
    image({ href, text }) {
      return `<a href="${escaped(href)}">${escaped(text || "image")}</a>`;
    },
  },
});

/** Returns the blocks of a text; of one that is still written, without an open last line, which would flicker. */
export function blocks(text: string, isWritten: boolean): Block[] {
  const tokens: TokensList = marked.lexer(isWritten ? text.replace(OPEN_LINE, "$1") : text);
  const links = Object.keys(tokens.links).length ? JSON.stringify(tokens.links) : "";
  return tokens.filter(token => token.type !== "space").map(token => ({ source: token.raw + links, token }));
}

/** Returns the nodes of a block, in a document fragment that has loaded and run nothing. */
export function nodesOf(block: Block): DocumentFragment {
  return purified(marked.parser([block.token]));
}

/** Returns the nodes of HTML that are on the lists. */
export function purified(html: string): DocumentFragment {
  return DOMPurify.sanitize(html, PURIFY);
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`);
}

/** Returns the extensions for TeX between $...$ and \(...\), or as a block $$...$$ and \[...\]. */
function math(level: "block" | "inline"): TokenizerAndRendererExtension[] {
  const isBlock = level === "block";
  const rule = isBlock
    ? /^(?:\$\$([^$]+?)\$\$|\\\[([\s\S]+?)\\\])(?:[ \t]*(?:\n|$))/
    : /^(?:\$\$([^$\n]+?)\$\$|\$(?![\s$])((?:\\.|[^$\\\n])*?[^\s\\$])\$(?![\w$])|\\\(([\s\S]+?)\\\)|\\\[([\s\S]+?)\\\])/;
  return [
    {
      name: `${level}Math`,
      level,
      start: source => source.match(isBlock ? /^(?:\$\$|\\\[)/m : /\$|\\[([]/)?.index,
      tokenizer(source) {
        const match = rule.exec(source);
        if (!match) return undefined;
        const tex = match.slice(1).find(group => group !== undefined) ?? "";
        const isDisplay = /^(?:\$\$|\\\[)/.test(source);
        return { type: `${level}Math`, raw: match[0], text: tex, isDisplay };
      },
      renderer: ({ text, isDisplay }) =>
        `<span class="math-${isDisplay ? "display" : "inline"}">${escaped(text as string)}</span>`,
    },
  ];
}
