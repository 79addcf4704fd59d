/**
 * A TypeDoc plug-in: what makes the reference read as the source does.
 *
 * - Tensor's methods are functions of src/ops, hung on its prototype by a mapped type. TypeDoc sees properties without a comment whose
 *   parameters are one tuple; here they become methods, with the comments, parameters and defaults of their functions.
 * - Shapes, Numerics, Throws and the like begin a line in our comments. Markdown would run the lines together: each becomes a paragraph.
 * - Names in backticks become links where there is something of that name.
 */
import {
  Converter,
  ParameterReflection,
  ReflectionFlag,
  ReflectionKind,
  ReflectionType,
  TupleType,
} from "typedoc";
import ts from "typescript";

const label = /(^|\s+)(Shapes|dtype|Numerics|Cost|Throws|Unlike PyTorch|Source):/g;

export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, addFunctionComment);
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, (context) => {
    const reflections = Object.values(context.project.reflections);
    for (const reflection of reflections) {
      if (reflection.kindOf(ReflectionKind.Property)) makeMethod(context, reflection);
      if (reflection.kindOf(ReflectionKind.CallSignature)) spreadTuple(context.project, reflection);
      if (reflection.name === "__namedParameters") reflection.name = "options";
    }
    for (const reflection of reflections) {
      if (reflection.comment) reflection.comment.summary = summaryOf(reflection);
    }
  });
}

/** The description of something, in paragraphs and with links. */
function summaryOf(reflection) {
  return reflection.comment.summary.map((part) => {
    const text = part.text.replace(label, "\n\n**$2:**");
    if (part.kind === "text") return { ...part, text };
    const target = part.kind === "code" ? named(reflection, part.text.slice(1, -1)) : null;
    return target
      ? { kind: "inline-tag", tag: "@linkcode", text: part.text.slice(1, -1), target }
      : part;
  });
}

/** What `path` means to a reader of the reflection's comment, if it is a name at all: the nearest of that name, and not itself. */
function named(reflection, path) {
  if (!/^[\w.]+$/.test(path)) return null;
  const parts = ReflectionKind.SomeSignature | ReflectionKind.Parameter;
  const own = reflection.kindOf(ReflectionKind.SomeSignature) ? reflection.parent : reflection;
  for (let scope = own; scope; scope = scope.parent) {
    const found = scope.getChildByName(path);
    if (found && found !== own && !found.kindOf(parts)) return found;
  }
  return null;
}

/** Where a property gets its value from, if that is a function or a constant. */
function sourceOf(context, reflection) {
  const [declaration] = context.getSymbolFromReflection(reflection)?.declarations ?? [];
  if (declaration && ts.isFunctionDeclaration(declaration)) return declaration;
  return declaration && ts.isVariableDeclaration(declaration) ? declaration.parent.parent : null;
}

function addFunctionComment(context, reflection) {
  if (!reflection.kindOf(ReflectionKind.Property) || reflection.comment) return;
  const source = sourceOf(context, reflection);
  if (source !== null) reflection.comment = context.getNodeComment(source, false);
}

/** Turns a property that is a function into a method. */
function makeMethod(context, reflection) {
  const source = sourceOf(context, reflection);
  if (source === null || !(reflection.type instanceof ReflectionType)) return;
  const { declaration } = reflection.type;
  const [signature] = declaration.signatures ?? [];
  if (signature === undefined) return;
  signature.name = reflection.name;
  signature.parent = reflection;
  signature.comment = reflection.comment;
  reflection.kind = ReflectionKind.Method;
  reflection.signatures = [signature];
  declaration.signatures = undefined;
  delete reflection.comment;
  delete reflection.type;
  delete reflection.defaultValue;
  context.project.removeReflection(declaration);
  // The first parameter is the tensor itself.
  spreadTuple(context.project, signature, source.parameters?.slice(1));
}

/** Turns `(...rest: [a: A, b?: B])` into `(a: A, b?: B)`. What the tuple does not tell is in the function's own `parameters`. */
function spreadTuple(project, signature, parameters = []) {
  const [rest, ...more] = signature.parameters ?? [];
  if (!rest?.flags.isRest || !(rest.type instanceof TupleType) || more.length > 0) return;
  signature.parameters = rest.type.elements.map((element, i) => {
    const { name, initializer, questionToken } = parameters[i] ?? {};
    // A parameter that its function takes apart, as our options are, has no name.
    const given = name && ts.isIdentifier(name) ? name.text : element.name;
    const isNamed = element.type === "namedTupleMember";
    const named = isNamed ? given : "options";
    const parameter = new ParameterReflection(named, ReflectionKind.Parameter, signature);
    parameter.type = element.element ?? element.elementType ?? element;
    if (initializer) parameter.defaultValue = initializer.getText();
    const isOptional = questionToken || element.isOptional || element.type === "optional";
    parameter.setFlag(ReflectionFlag.Optional, Boolean(isOptional && !initializer));
    project.registerReflection(parameter, undefined, undefined);
    return parameter;
  });
  project.removeReflection(rest);
}
