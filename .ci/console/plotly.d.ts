// What the console's charts load at run time: the plotly.min.js of the Python package.

interface Window {
  Plotly: any;
}
