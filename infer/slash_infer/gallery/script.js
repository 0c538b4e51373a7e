"use strict";

// The stage plays one clip of the list. Without this script there is the list alone.

const clips = [...document.querySelectorAll(".clip")];
const stage = document.getElementById("stage");
const player = document.getElementById("stage-audio");
const picture = document.getElementById("stage-picture");
const now = document.getElementById("now");
const said = document.getElementById("said");
let current = 0;
let row = null; // the row being played in order

function show(index) {
  clips[current].classList.remove("staged");
  current = (index + clips.length) % clips.length;
  const clip = clips[current];
  clip.classList.add("staged");
  now.textContent = clip.dataset.title;
  picture.src = clip.querySelector("img").src;
  picture.alt = clip.querySelector("img").alt;
  player.src = clip.querySelector("audio").src;
  player.setAttribute("aria-label", clip.dataset.title);
  document.getElementById("stage-facts").replaceChildren(clip.querySelector(".facts").cloneNode(true));
  const again = clip.querySelector(".again");
  document.getElementById("stage-again").replaceChildren(...(again ? [again.cloneNode(true)] : []));
  for (const button of document.querySelectorAll(".copy")) button.textContent = "Copy the command";
}

function play() {
  player.play().catch((error) => {
    if (error.name !== "AbortError") { // another clip was started before this one
      said.textContent = `The browser does not play this clip: ${error.message}`;
    }
  });
}

function perform(index, playingOn = null) {
  row = playingOn;
  show(index);
  play();
  stage.scrollIntoView({ block: "nearest" });
}

function randomize() { // among what was generated
  const others = [...clips.keys()].filter((index) => index !== current && !clips[index].dataset.recorded);
  perform(others.length ? others[Math.floor(Math.random() * others.length)] : current);
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    said.textContent = button.textContent = "Copied";
  } catch { // browsers may deny the clipboard to pages opened from disk
    getSelection().selectAllChildren(code);
    said.textContent = button.textContent = "Selected: now copy it";
  }
}

const actions = {
  r: randomize,
  " ": () => (player.paused ? play() : player.pause()),
  ArrowLeft: () => perform(current - 1),
  ArrowRight: () => perform(current + 1),
};

// The elements that handle a key themselves while they have the focus.
const OWN_KEYS = {
  r: "input, textarea, select",
  " ": "a, button, summary, audio, input, textarea, select",
  ArrowLeft: "audio, input, textarea, select",
  ArrowRight: "audio, input, textarea, select",
};

document.addEventListener("keydown", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!Object.hasOwn(actions, key) || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  if (event.repeat || event.isComposing || event.target.closest?.(OWN_KEYS[key])) return;
  event.preventDefault();
  actions[key]();
});

document.addEventListener("play", (event) => { // media events do not bubble
  for (const other of document.querySelectorAll("audio")) {
    if (other !== event.target) other.pause();
  }
}, true);

player.addEventListener("ended", () => {
  if (row?.contains(clips[current + 1])) perform(current + 1, row);
});

document.getElementById("randomize").addEventListener("click", randomize);
document.getElementById("previous").addEventListener("click", () => perform(current - 1));
document.getElementById("next").addEventListener("click", () => perform(current + 1));
for (const [index, clip] of clips.entries()) {
  clip.querySelector(".stage-it").addEventListener("click", () => perform(index));
}
for (const button of document.querySelectorAll(".in-order")) {
  const inOrder = button.closest(".row");
  button.addEventListener("click", () => perform(clips.indexOf(inOrder.querySelector(".clip")), inOrder));
}
document.addEventListener("click", (event) => { // the stage has a button of each clip in turn
  const button = event.target.closest?.(".copy");
  if (button) copy(button);
});
for (const button of document.querySelectorAll("button, #stage")) button.hidden = false;

const linked = clips.findIndex((clip) => `#${clip.id}` === location.hash);
show(linked >= 0 ? linked : clips.findIndex((clip) => !clip.dataset.recorded));
