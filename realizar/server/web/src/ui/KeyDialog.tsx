// Asks for the API key of a server that wants one.
import { keyRequest } from "../api";
import { Dialog } from "./Dialog";

export function KeyDialog() {
  const request = keyRequest.value;
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    const key = new FormData(event.currentTarget as HTMLFormElement).get("key");
    if (typeof key === "string" && key.trim()) request?.answer(key.trim());
  };
  return (
    <Dialog title="API key" isOpen={request !== null} onClose={() => request?.answer(null)} class="small">
      <form onSubmit={onSubmit}>
        <p>
          {request?.wasRefused ? "The server did not accept this key." : "This server answers only with an API key."}
        </p>
        <label class="field">
          <span>Key</span>
          <input name="key" type="password" autocomplete="off" spellcheck={false} required autofocus />
        </label>
        <p class="hint">It is kept in this tab until you close it, and sent to this server only.</p>
        <div class="dialog-actions">
          <button type="submit" class="primary">
            Use this key
          </button>
        </div>
      </form>
    </Dialog>
  );
}
