// Does nothing: the writers' side is measured, with a consumer alive that takes what they caused.
module.exports = async () => {};
