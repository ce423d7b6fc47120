// Settings: the system prompt, sampling, tools, the theme, the key and the history.
import { useState } from "preact/hooks";
import { forgetKey, hasKey } from "../api";
import { asJson, download } from "../export";
import { chats, everyChat, loadModels, removeAllChats } from "../session";
import { NUMBERS, type NumberField, type Settings, change, reset, settings, toolsFault } from "../settings";
import { MOST_CHATS } from "../storage";
import { Confirm, Dialog } from "./Dialog";
import { isSettingsOpen } from "./state";

export function SettingsDialog() {
  const close = () => (isSettingsOpen.value = false);
  return (
    <Dialog title="Settings" isOpen={isSettingsOpen.value} onClose={close}>
      <form onSubmit={event => event.preventDefault()}>
        <label class="field">
          <span>System prompt</span>
          <textarea
            rows={3}
            value={settings.value.system}
            placeholder="How the model should answer"
            onInput={event => change({ system: event.currentTarget.value })}
          />
        </label>
        <fieldset>
          <legend>Sampling</legend>
          <p class="hint">Empty fields have the defaults of the model and the server.</p>
          <div class="numbers">
            {NUMBERS.map(field => (
              <NumberInput key={field.name} field={field} />
            ))}
          </div>
          <button type="button" onClick={reset}>
            Use the defaults
          </button>
        </fieldset>
        <Tools />
        <Theme />
      </form>
      <Key />
      <History />
      <p class="hint">
        <a href="web/LICENSES.txt" target="_blank" rel="noopener">
          Licences of the libraries of this page
        </a>
      </p>
    </Dialog>
  );
}

function NumberInput({ field }: { field: NumberField }) {
  const { name, label, hint, min, max, step } = field;
  return (
    <div class="field">
      <label for={name}>{label}</label>
      <input
        type="number"
        id={name}
        min={min}
        max={max}
        step={step}
        placeholder="default"
        value={settings.value[name]}
        aria-describedby={`${name}-hint`}
        onInput={event => change({ [name]: event.currentTarget.value })}
      />
      <small id={`${name}-hint`} class="hint">
        {hint}
      </small>
    </div>
  );
}

function Tools() {
  const fault = toolsFault(settings.value.tools);
  return (
    <div class="field">
      <label for="tools">Tools</label>
      <textarea
        id="tools"
        rows={3}
        class="mono"
        spellcheck={false}
        value={settings.value.tools}
        placeholder='[{"type": "function", "function": {"name": "..."}}]'
        aria-invalid={fault ? "true" : undefined}
        aria-describedby="tools-hint"
        onInput={event => change({ tools: event.currentTarget.value })}
      />
      <small id="tools-hint" class={fault ? "fault" : "hint"}>
        {fault || "JSON in OpenAI's form. The page shows the calls; you enter what the tools return."}
      </small>
    </div>
  );
}

function Theme() {
  const themes: [Settings["theme"], string][] = [
    ["system", "As the system"],
    ["light", "Light"],
    ["dark", "Dark"],
  ];
  return (
    <fieldset>
      <legend>Theme</legend>
      <div class="choices">
        {themes.map(([theme, label]) => (
          <label key={theme}>
            <input
              type="radio"
              name="theme"
              checked={settings.value.theme === theme}
              onChange={() => change({ theme })}
            />
            {label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

function Key() {
  if (!hasKey()) return null;
  const forget = () => {
    forgetKey();
    isSettingsOpen.value = false;
    void loadModels();
  };
  return (
    <section>
      <h3>API key</h3>
      <button type="button" onClick={forget}>
        Forget the key
      </button>
    </section>
  );
}

function History() {
  const [isAsking, setAsking] = useState(false);
  const n = chats.value.length;
  const save = () => download("realizar-chats.json", asJson(everyChat()), "application/json");
  return (
    <section>
      <h3>History</h3>
      <p class="hint">The newest {MOST_CHATS} chats are kept in this browser, and nowhere else.</p>
      <div class="choices">
        <button type="button" disabled={n === 0} onClick={save}>
          Export all as JSON
        </button>
        <button type="button" class="danger" disabled={n === 0} onClick={() => setAsking(true)}>
          Delete all chats
        </button>
      </div>
      <Confirm
        title="Delete all chats?"
        text={`${n} ${n === 1 ? "chat" : "chats"} will be deleted from this browser.`}
        action="Delete all"
        isOpen={isAsking}
        onClose={() => setAsking(false)}
        onConfirm={() => void removeAllChats()}
      />
    </section>
  );
}
