// Markdown: shows a text that grows. Only blocks that changed are rendered again, and preact changes only their nodes
// that differ, so that a selection and the place of a scroll stay.
import katex from "katex";
import { Component, type ComponentChild, type VNode, h } from "preact";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { CopyButton } from "../ui/CopyButton";
import { type Block, blocks, nodesOf, purified } from "./blocks";
import { highlighted } from "./highlight";

/** Deeper nodes are shown as text; the stack of a browser is limited. */
const MOST_LEVELS = 40;
const SAFE_LINK = /^(?:https?:\/\/|mailto:)/i;
const TEX = { throwOnError: false, trust: false, strict: "ignore", maxSize: 20, maxExpand: 500 } as const;

export function Markdown({ text, isWritten = false }: { text: string; isWritten?: boolean }): VNode {
  const found = useMemo(() => blocksOrText(text, isWritten), [text, isWritten]);
  return (
    <div class="markdown">
      {typeof found === "string" ? <pre>{found}</pre> : found.map((block, i) => <BlockView key={i} block={block} />)}
    </div>
  );
}

/** Returns the blocks of a text; the text itself if it is nested too deeply for the parser. */
function blocksOrText(text: string, isWritten: boolean): Block[] | string {
  try {
    return blocks(text, isWritten);
  } catch {
    return text;
  }
}

class BlockView extends Component<{ block: Block }> {
  override shouldComponentUpdate({ block }: { block: Block }): boolean {
    return block.source !== this.props.block.source;
  }

  override render({ block }: { block: Block }): ComponentChild {
    try {
      return childrenOf(nodesOf(block), 0);
    } catch {
      return <pre>{block.token.raw}</pre>;
    }
  }
}

function childrenOf(node: Node, level: number): ComponentChild[] {
  return Array.from(node.childNodes, child => viewOf(child, level));
}

/** Returns a purified node as preact's; attributes are only those that are named here. */
function viewOf(node: Node, level: number): ComponentChild {
  if (!(node instanceof Element)) return node.textContent;
  if (level > MOST_LEVELS) return node.textContent;
  const tag = node.localName;
  if (tag === "a") return <Link element={node}>{childrenOf(node, level + 1)}</Link>;
  if (tag === "pre") return <CodeBlock element={node} />;
  if (tag === "input")
    return <input type="checkbox" disabled checked={node.hasAttribute("checked")} aria-label="Task" />;
  if (tag === "span" && node.className.startsWith("math-")) {
    return <Math tex={node.textContent ?? ""} isDisplay={node.className === "math-display"} />;
  }
  if (tag === "table") {
    return (
      <div class="table" tabIndex={0} role="region" aria-label="Table">
        <table>{childrenOf(node, level + 1)}</table>
      </div>
    );
  }
  // The page has headings of levels 1 and 2 itself.
  const own = /^h[1-4]$/.test(tag) ? `h${Number(tag[1]) + 2}` : tag;
  return h(own, plainAttributes(node), ...childrenOf(node, level + 1));
}

function plainAttributes(element: Element): Record<string, string | boolean> {
  const found: Record<string, string | boolean> = {};
  for (const name of ["align", "colspan", "rowspan", "start"]) {
    const value = element.getAttribute(name);
    if (value !== null) found[name] = value;
  }
  if (element.localName === "details" && element.hasAttribute("open")) found["open"] = true;
  return found;
}

function Link({ element, children }: { element: Element; children: ComponentChild }): VNode {
  const href = element.getAttribute("href") ?? "";
  if (!SAFE_LINK.test(href)) return <span>{children}</span>;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

function CodeBlock({ element }: { element: Element }): VNode {
  const code = (element.textContent ?? "").replace(/\n$/, "");
  const language = /language-([\w+#.-]+)/.exec(element.querySelector("code")?.className ?? "")?.[1] ?? "";
  const spans = useMemo(() => {
    const html = language ? highlighted(code, language.toLowerCase()) : null;
    return html === null ? code : spansOf(purified(html));
  }, [code, language]);
  return (
    <div class="code">
      <div class="code-head">
        <span>{language || "text"}</span>
        <CopyButton text={code} what="code" />
      </div>
      <pre tabIndex={0} role="region" aria-label={`Code: ${language || "text"}`}>
        <code>{spans}</code>
      </pre>
    </div>
  );
}

/** Returns highlighted code as preact's nodes: spans with the classes of highlight.js. */
function spansOf(node: Node): ComponentChild[] {
  return Array.from(node.childNodes, child =>
    child instanceof Element ? <span class={child.className}>{spansOf(child)}</span> : child.textContent,
  );
}

/** TeX; KaTeX makes nodes, not HTML, since the page's policy forbids the styles that its HTML has. */
function Math({ tex, isDisplay }: { tex: string; isDisplay: boolean }): VNode {
  const place = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    try {
      katex.render(tex, place.current!, { ...TEX, displayMode: isDisplay });
    } catch {
      place.current!.textContent = tex;
    }
  }, [tex, isDisplay]);
  if (!isDisplay) return <span ref={place} class="math" />;
  return <span ref={place} class="math math-display" tabIndex={0} role="region" aria-label="Formula" />;
}
